package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// entries returns what the archive's index names: the image, and what refers to it.
func entries(t *testing.T, m made) (layout.Path, v1.Descriptor, v1.Descriptor) {
	t.Helper()
	path, err := layout.FromPath(m.directory)
	if err != nil {
		t.Fatal(err)
	}
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 {
		t.Fatalf("the index has %d entries, not the image and its contents", len(manifest.Manifests))
	}
	return path, manifest.Manifests[0], manifest.Manifests[1]
}

func TestImageOfOnePlatformIsValidAndRunsTheProgramUnprivileged(t *testing.T) {
	this := thisProgram(t)
	m := makeArchive(t, asked(t), this)
	path, named, _ := entries(t, m)
	image, err := path.Image(named.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	annotations := map[string]string{
		"org.opencontainers.image.created":  "2023-11-14T22:13:20Z",
		"org.opencontainers.image.licenses": "Apache-2.0",
		"org.opencontainers.image.revision": "0123abc",
		"org.opencontainers.image.source":   "https://example.com/berth",
		"org.opencontainers.image.title":    "berth",
		"org.opencontainers.image.url":      "https://example.com/berth",
		"org.opencontainers.image.version":  "1.2.3",
	}
	type facts struct {
		Entrypoint          []string
		User, Platform      string
		Labels, Annotations map[string]string
		Files               map[string][]byte
		Created             time.Time
		MediaTypes          []types.MediaType
	}
	want := facts{
		[]string{"/image"}, "65532:65532", this.Platform.String(), annotations, annotations, map[string][]byte{"image": this.Content},
		time.Unix(1700000000, 0).UTC(), []types.MediaType{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer},
	}
	got := facts{
		config.Config.Entrypoint, config.Config.User, config.Platform().String(), config.Config.Labels, manifest.Annotations, untar(t, content),
		config.Created.Time, []types.MediaType{manifest.MediaType, manifest.Config.MediaType, manifest.Layers[0].MediaType},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestImageOfTwoPlatformsIsAValidIndex(t *testing.T) {
	this := thisProgram(t)
	that := onArm64(this)
	if this.Platform.Architecture == "arm64" {
		that.Platform.Architecture = "amd64"
	}
	path, named, _ := entries(t, makeArchive(t, asked(t), this, that))
	root, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	index, err := root.ImageIndex(named.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var platforms []string
	for _, entry := range manifest.Manifests {
		platforms = append(platforms, entry.Platform.String())
	}
	if diff := cmp.Diff([]string{this.Platform.String(), that.Platform.String()}, platforms); diff != "" {
		t.Error(diff)
	}
}

func TestArchiveTellsContainerdAndOthersTheImagesName(t *testing.T) {
	_, named, list := entries(t, makeArchive(t, asked(t), thisProgram(t)))
	want := map[string]string{"io.containerd.image.name": "localhost/berth:v1", "org.opencontainers.image.ref.name": "v1"}
	if diff := cmp.Diff(want, named.Annotations); diff != "" {
		t.Error(diff)
	}
	if len(list.Annotations) > 0 {
		t.Errorf("the list of contents would be imported as an image: %v", list.Annotations)
	}
}

// TestDockerReadsTheSameImage: the file manifest.json, which is no part of the layout, leads to the same blobs.
func TestDockerReadsTheSameImage(t *testing.T) {
	m := makeArchive(t, asked(t), thisProgram(t))
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, m.tar, 0o600); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("localhost/berth:v1", name.StrictValidation)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(path, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	got, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.built.Images[0].ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if want != got {
		t.Errorf("its configuration is %s, not %s", got, want)
	}
}

func TestContentsReferToTheImage(t *testing.T) {
	m := makeArchive(t, asked(t), thisProgram(t))
	_, named, list := entries(t, m)
	var artifact v1.Manifest
	m.blob(t, list.Digest, &artifact)
	if list.ArtifactType != "application/spdx+json" || artifact.ArtifactType != list.ArtifactType {
		t.Errorf("it is a %q, and the index says %q", artifact.ArtifactType, list.ArtifactType)
	}
	want := &v1.Descriptor{MediaType: named.MediaType, Digest: named.Digest, Size: named.Size}
	if diff := cmp.Diff(want, artifact.Subject); diff != "" {
		t.Error(diff)
	}
	path, err := layout.FromPath(m.directory)
	if err != nil {
		t.Fatal(err)
	}
	for descriptor, content := range map[*v1.Descriptor][]byte{&artifact.Layers[0]: m.list, &artifact.Config: []byte("{}")} {
		got, err := path.Bytes(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(content, got) || int64(len(content)) != descriptor.Size {
			t.Errorf("%s: %d bytes said, %d there, %d wanted", descriptor.MediaType, descriptor.Size, len(got), len(content))
		}
	}
}

// TestSameProgramMakesTheSameArchiveElsewhere: neither the directory of the program, nor its times, nor those of the machine are in it.
func TestSameProgramMakesTheSameArchiveElsewhere(t *testing.T) {
	content := thisProgram(t).Content
	var archives, lists [][]byte
	for i := range 2 {
		directory := t.TempDir()
		path := filepath.Join(directory, "image")
		if err := os.WriteFile(path, content, 0o700|os.FileMode(i)); err != nil { //nolint:gosec // programs are executable
			t.Fatal(err)
		}
		at := time.Unix(int64(1_600_000_000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		output, list := filepath.Join(directory, "out.tar"), filepath.Join(directory, "out.spdx.json")
		args := []string{"--name=localhost/image:v1", "--binary=" + path, "--output=" + output, "--sbom=" + list, "--level=1"}
		if err := run(args, "1700000000", io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		for file, into := range map[string]*[][]byte{output: &archives, list: &lists} {
			read, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			*into = append(*into, read)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of one program differ")
	}
	if !bytes.Equal(lists[0], lists[1]) {
		t.Error("two lists of one program differ")
	}
}
