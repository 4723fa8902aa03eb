package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program is a static Go program, and what it says of itself.
type program struct {
	Name     string // of its file
	Content  []byte
	SHA256   string
	Platform v1.Platform
	Info     *buildinfo.BuildInfo
}

// readPrograms reads the files: the same program for several platforms.
func readPrograms(paths []string) ([]program, error) {
	var programs []program
	by := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		read, err := parseProgram(filepath.Base(path), content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if other, ok := by[read.Platform.String()]; ok {
			return nil, fmt.Errorf("%s and %s are both for %s: an image has one program a platform", other, path, read.Platform)
		}
		by[read.Platform.String()] = path
		if len(programs) > 0 && (programs[0].Name != read.Name || programs[0].Info.Path != read.Info.Path) {
			return nil, fmt.Errorf("%s is %s, and %s is %s: give one program, built for several platforms", paths[0], programs[0].Info.Path, path, read.Info.Path)
		}
		programs = append(programs, read)
	}
	return programs, nil
}

// parseProgram takes what runs in an empty directory: an ELF file that asks for no interpreter and no libraries. The platform is the one that the
// Go command has written into it.
func parseProgram(name string, content []byte) (program, error) {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return program{}, fmt.Errorf("not a program for Linux: %w", err)
	}
	if libraries, _ := file.ImportedLibraries(); len(libraries) > 0 {
		return program{}, fmt.Errorf("not static: it needs %s, which the image does not have. Build it with CGO_ENABLED=0", libraries[0])
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			return program{}, errors.New("not static: it asks for an interpreter, which the image does not have. Build it with CGO_ENABLED=0")
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return program{}, fmt.Errorf("what it was built from cannot be told: %w", err)
	}
	sum := sha256.Sum256(content)
	read := program{Name: name, Content: content, SHA256: hex.EncodeToString(sum[:]), Info: info}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "GOOS":
			read.Platform.OS = setting.Value
		case "GOARCH":
			read.Platform.Architecture = setting.Value
		}
	}
	if read.Platform.OS != "linux" || read.Platform.Architecture == "" {
		return program{}, fmt.Errorf("not a program for Linux: it was built for %q", read.Platform)
	}
	return read, nil
}
