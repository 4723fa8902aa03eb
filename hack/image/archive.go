package main

import (
	"archive/tar"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	specs "github.com/opencontainers/image-spec/specs-go/v1"
)

// spdxType is the media type of the list of contents.
const spdxType = "application/spdx+json"

// archive is what an OCI image layout holds, by path (image-layout.md of the image specification).
type archive map[string][]byte

func (a archive) blob(digest v1.Hash, content []byte) {
	a["blobs/"+digest.Algorithm+"/"+digest.Hex] = content
}

// pack lays out the image and its list of contents. The list refers to the image by its digest ("subject", manifest.md), so that the image is the
// same with and without it; an archive names both in its index, the image alone by a name.
func pack(o options, b built, list []byte) (archive, error) {
	a := archive{}
	for _, image := range b.Images {
		if err := a.image(image); err != nil {
			return nil, err
		}
	}
	if b.Index != nil {
		raw, err := b.Index.RawManifest()
		if err != nil {
			return nil, err
		}
		a.blob(b.Root.Digest, raw)
	}
	named := b.Root
	named.Annotations = map[string]string{
		specs.AnnotationRefName:    o.Name.Tag(),    // what skopeo asks for
		"io.containerd.image.name": o.Name.String(), // what containerd calls it
	}
	referrer, err := a.referrer(o, b.Root, list)
	if err != nil {
		return nil, err
	}
	for path, content := range map[string]any{
		specs.ImageLayoutFile: specs.ImageLayout{Version: specs.ImageLayoutVersion},
		specs.ImageIndexFile:  v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{named, referrer}},
	} {
		if a[path], err = json.Marshal(content); err != nil {
			return nil, err
		}
	}
	return a, a.dockerManifest(o, b.Images[0])
}

func (a archive) image(image v1.Image) error {
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	a.blob(digest, manifest)
	name, err := image.ConfigName()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	a.blob(name, config)
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		reader, err := layer.Compressed()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(reader)
		if err := reader.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
		a.blob(digest, content)
	}
	return nil
}

// referrer adds the list as an artifact, as manifest.md has them: an empty configuration, and one blob of the artifact's type.
func (a archive) referrer(o options, subject v1.Descriptor, list []byte) (v1.Descriptor, error) {
	subject.Platform = nil
	nothing := specs.DescriptorEmptyJSON
	config, _, err := v1.SHA256(strings.NewReader(string(nothing.Data)))
	if err != nil {
		return v1.Descriptor{}, err
	}
	a.blob(config, nothing.Data)
	digest, size, err := v1.SHA256(strings.NewReader(string(list)))
	if err != nil {
		return v1.Descriptor{}, err
	}
	a.blob(digest, list)
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  spdxType,
		Config:        v1.Descriptor{MediaType: types.MediaType(nothing.MediaType), Digest: config, Size: nothing.Size},
		Layers: []v1.Descriptor{{
			MediaType: spdxType, Digest: digest, Size: size, Annotations: map[string]string{specs.AnnotationTitle: o.Title + ".spdx.json"},
		}},
		Subject:     &subject,
		Annotations: map[string]string{specs.AnnotationCreated: o.Created.Format(time.RFC3339)},
	})
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, size, err = v1.SHA256(strings.NewReader(string(manifest)))
	if err != nil {
		return v1.Descriptor{}, err
	}
	a.blob(digest, manifest)
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: spdxType, Digest: digest, Size: size}, nil
}

// dockerManifest lets `docker load` read the archive where Docker keeps images in its own store, which knows no layout. It can take one platform
// only: the first.
func (a archive) dockerManifest(o options, image v1.Image) error {
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	path := func(d v1.Descriptor) string { return "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex }
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{path(manifest.Config), []string{reference.FamiliarString(o.Name)}, nil}
	for _, layer := range manifest.Layers {
		entry.Layers = append(entry.Layers, path(layer))
	}
	a["manifest.json"], err = json.Marshal([]any{entry})
	return err
}

// write makes a tar of it that depends on nothing but the contents.
func (a archive) write(to io.Writer, modified time.Time) error {
	writer := tar.NewWriter(to)
	made := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(a)) {
		for i, r := range path {
			if directory := path[:i]; r == '/' && !made[directory] {
				made[directory] = true
				if err := writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: directory + "/", Mode: 0o755, ModTime: modified}); err != nil {
					return fmt.Errorf("%s: %w", directory, err)
				}
			}
		}
		if err := writer.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: path, Size: int64(len(a[path])), Mode: 0o644, ModTime: modified,
		}); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if _, err := writer.Write(a[path]); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return writer.Close()
}
