package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// thisProgram is this tool itself, built as what ships is: a static program with dependencies.
func thisProgram(t *testing.T) program {
	t.Helper()
	content, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	read, err := parseProgram("image", content)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

var buildOnce = sync.OnceValues(func() ([]byte, error) {
	directory, err := os.MkdirTemp("", "image-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "image")
	command := exec.Command("go", "build", "-o", path, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(output)))
	}
	return os.ReadFile(path)
})

// onArm64 says that the program was built for another platform, which is all that the image knows of it.
func onArm64(p program) program {
	p.Platform = v1.Platform{OS: "linux", Architecture: "arm64"}
	return p
}

// asked parses what is asked for, and more of it.
func asked(t *testing.T, more ...string) options {
	t.Helper()
	args := append([]string{
		"--name=localhost/berth:v1", "--binary=unused", "--output=unused", "--version=1.2.3", "--revision=0123abc",
		"--source=https://example.com/berth", "--licenses=Apache-2.0", "--level=1",
	}, more...)
	o, err := parse(args, "1700000000", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// made is an archive of the programs, as the file and unpacked.
type made struct {
	tar       []byte
	directory string
	list      []byte
	built     built
}

func makeArchive(t *testing.T, o options, programs ...program) made {
	t.Helper()
	b, err := build(o, programs)
	if err != nil {
		t.Fatal(err)
	}
	list, err := bill(o, programs, b.Root.Digest)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := pack(o, b, list)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := packed.write(&file, o.Created); err != nil {
		t.Fatal(err)
	}
	m := made{tar: file.Bytes(), directory: t.TempDir(), list: list, built: b}
	for name, content := range untar(t, bytes.NewReader(m.tar)) {
		path := filepath.Join(m.directory, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// untar returns the files of an archive.
func untar(t *testing.T, from io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	reader := tar.NewReader(from)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "/")] = content
	}
}

// blob reads JSON by its digest.
func (m made) blob(t *testing.T, digest v1.Hash, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(m.directory, "blobs", digest.Algorithm, digest.Hex))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatal(err)
	}
}
