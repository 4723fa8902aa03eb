package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// run makes the archive, and says what became of it.
func run(args []string, epoch string, stdout, stderr io.Writer) error {
	o, err := parse(args, epoch, stderr)
	if err != nil {
		return err
	}
	programs, err := readPrograms(o.Binaries)
	if err != nil {
		return err
	}
	b, err := build(o, programs)
	if err != nil {
		return err
	}
	list, err := bill(o, programs, b.Root.Digest)
	if err != nil {
		return err
	}
	packed, err := pack(o, b, list)
	if err != nil {
		return err
	}
	var tar bytes.Buffer
	if err := packed.write(&tar, o.Created); err != nil {
		return err
	}
	if err := store(o.Output, tar.Bytes()); err != nil {
		return err
	}
	if o.SBOM != "" {
		if err := store(o.SBOM, list); err != nil {
			return err
		}
	}
	return report(o, programs, b, int64(tar.Len()), stdout)
}

// store replaces a file at once: who reads it meanwhile gets the old one or the new one.
func store(path string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(file.Name())
		}
	}()
	if _, err := file.Write(content); err != nil {
		return err
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func report(o options, programs []program, b built, size int64, to io.Writer) error {
	var lines strings.Builder
	fmt.Fprintf(&lines, "image    %s\ndigest   %s\n", o.Name, b.Root.Digest)
	for i, image := range b.Images {
		manifest, err := image.Manifest()
		if err != nil {
			return err
		}
		digest, err := image.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "         %s %s, %s to pull, %d modules\n", programs[i].Platform, digest, mebibytes(manifest.Layers[0].Size), len(programs[i].Info.Deps))
	}
	fmt.Fprintf(&lines, "archive  %s, %s\n", o.Output, mebibytes(size))
	if o.SBOM != "" {
		fmt.Fprintf(&lines, "contents %s\n", o.SBOM)
	}
	_, err := io.WriteString(to, lines.String())
	return err
}

func mebibytes(size int64) string { return fmt.Sprintf("%.1f MiB", float64(size)/(1<<20)) }
