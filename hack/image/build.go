package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// buildImage makes an image whose only file is the program. Nothing else is needed: names of users are numbers, and whom to trust comes with the
// service account. Where more is needed, a volume brings it.
func buildImage(o options, p program) (v1.Image, error) {
	layer, err := layerOf(o, p)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		OS:           p.Platform.OS,
		Architecture: p.Platform.Architecture,
		Created:      v1.Time{Time: o.Created},
		Config:       v1.Config{User: o.User, Entrypoint: []string{"/" + p.Name}, Labels: o.annotations()},
		RootFS:       v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	image, err = mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: o.Created}, CreatedBy: "hack/image", Comment: p.Info.Path},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Annotations(image, o.annotations()).(v1.Image), nil
}

// layerOf holds the program, owned by root: who runs it shall not be able to change it.
func layerOf(o options, p program) (v1.Layer, error) {
	var files bytes.Buffer
	writer := tar.NewWriter(&files)
	err := writer.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: p.Name, Size: int64(len(p.Content)), Mode: 0o755, ModTime: o.Created, Format: tar.FormatPAX,
	})
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(p.Content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(o.Level), tarball.WithCompressedCaching)
}

// built is an image of each platform, and what they are together.
type built struct {
	Images []v1.Image
	Index  v1.ImageIndex // nil for a single platform
	Root   v1.Descriptor // what the image's name means
}

func build(o options, programs []program) (built, error) {
	var b built
	var addenda []mutate.IndexAddendum
	for _, p := range programs {
		image, err := buildImage(o, p)
		if err != nil {
			return built{}, fmt.Errorf("image for %s: %w", p.Platform, err)
		}
		b.Images = append(b.Images, image)
		addenda = append(addenda, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p.Platform}})
	}
	if len(programs) == 1 {
		root, err := describe(b.Images[0])
		root.Platform = &programs[0].Platform
		b.Root = root
		return b, err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	b.Index = mutate.Annotations(mutate.AppendManifests(index, addenda...), o.annotations()).(v1.ImageIndex)
	var err error
	b.Root, err = describe(b.Index)
	return b, err
}

// described is an image or an index.
type described interface {
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
	Size() (int64, error)
}

func describe(what described) (v1.Descriptor, error) {
	mediaType, err := what.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := what.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := what.Size()
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}
