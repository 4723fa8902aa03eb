package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatCannotBeMadeIsRefusedByName(t *testing.T) {
	complete := []string{"--binary=berth", "--name=localhost/berth:v1", "--output=berth.tar"}
	with := func(more ...string) []string { return append(complete[:3:3], more...) }
	for name, row := range map[string]struct {
		args  []string
		epoch string
		want  string
	}{
		"no program":                           {complete[1:], "", "--binary is missing"},
		"no name":                              {[]string{complete[0], complete[2]}, "", "--name is missing"},
		"no archive":                           {complete[:2], "", "--output is missing"},
		"a name without a tag":                 {with("--name=localhost/berth"), "", "--name localhost/berth: it needs a tag"},
		"a name with a digest, too":            {with("--name=localhost/berth:v1@sha256:" + strings.Repeat("0", 64)), "", "it needs a tag and no digest"},
		"a name in upper case":                 {with("--name=localhost/Berth:v1"), "", "--name localhost/Berth:v1: "},
		"a user by name":                       {with("--user=nobody:nogroup"), "", "--user nobody:nogroup: it has to be UID:GID in numbers"},
		"a user without a group":               {with("--user=65532"), "", "--user 65532: it has to be UID:GID"},
		"a time that is a date":                {with("--created=2023-11-14"), "", "--created 2023-11-14: it has to be seconds"},
		"a time before 1970":                   {with("--created=-1"), "", "--created -1: it has to be seconds"},
		"a time in the environment, no number": {complete, "yesterday", "--created yesterday: it has to be seconds"},
		"a level that gzip does not have":      {with("--level=10"), "", "--level 10: it has to be from 1 to 9"},
		"a program without its flag":           {with("poold"), "", `unexpected argument "poold"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(row.args, row.epoch, io.Discard)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v: it should say %q", err, row.want)
			}
		})
	}
}

// elfWith is a program for Linux with one segment and nothing else.
func elfWith(t *testing.T, segment elf.ProgType) []byte {
	t.Helper()
	var file bytes.Buffer
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	for _, part := range []any{header, elf.Prog64{Type: uint32(segment)}} {
		if err := binary.Write(&file, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

func TestProgramsThatWouldNotRunAreRefused(t *testing.T) {
	for name, row := range map[string]struct {
		content []byte
		want    string
	}{
		"a script":                   {[]byte("#!/bin/sh\n"), "not a program for Linux"},
		"nothing":                    {nil, "not a program for Linux"},
		"one that asks for a loader": {elfWith(t, elf.PT_INTERP), "not static: it asks for an interpreter"},
		"one that Go has not made":   {elfWith(t, elf.PT_LOAD), "what it was built from cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "berth")
			if err := os.WriteFile(path, row.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := readPrograms([]string{path})
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v: it should name %s and say %q", err, path, row.want)
			}
		})
	}
}

func TestOnePlatformHasOneProgram(t *testing.T) {
	var paths []string
	for range 2 {
		path := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(path, thisProgram(t).Content, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if _, err := readPrograms(paths); err == nil || !strings.Contains(err.Error(), "are both for linux/") {
		t.Errorf("%v: it should say that both are for one platform", err)
	}
}
