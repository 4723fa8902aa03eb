package data

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func openDir(t *testing.T, kind Kind) Dir {
	t.Helper()
	d, err := Open(t.TempDir(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDirectoriesAreCopiedWithTheirContent(t *testing.T) {
	d := openDir(t, Directories)
	ctx := t.Context()
	must(t, d.Create(ctx, New{ID: "v1", Bytes: 10}))
	must(t, os.Mkdir(filepath.Join(d.volume("v1"), "sub"), 0o700))
	must(t, os.WriteFile(filepath.Join(d.volume("v1"), "sub", "file"), []byte("hello"), 0o600))
	must(t, os.Symlink("sub/file", filepath.Join(d.volume("v1"), "link")))
	must(t, d.Snapshot(ctx, "s1", "v1"))
	must(t, d.Remove("v1"))
	must(t, d.Create(ctx, New{ID: "v2", Bytes: 10, From: Origin{SnapshotID: "s1"}}))
	must(t, d.Create(ctx, New{ID: "v3", Bytes: 10, From: Origin{VolumeID: "v2"}}))
	got, err := os.ReadFile(filepath.Join(d.volume("v3"), "link"))
	if err != nil || string(got) != "hello" {
		t.Errorf("the copy of the copy has %q (%v)", got, err)
	}
}

func TestSparseFilesStaySparse(t *testing.T) {
	d := openDir(t, SparseFiles)
	must(t, d.Create(t.Context(), New{ID: "v1", Bytes: 1 << 40}))
	f, err := os.OpenFile(d.volume("v1"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("hello"), 1<<35)
	must(t, errors.Join(err, f.Close()))
	must(t, d.Create(t.Context(), New{ID: "v2", Bytes: 1 << 41, From: Origin{VolumeID: "v1"}}))
	f, err = os.Open(d.volume("v2"))
	must(t, err)
	defer f.Close()
	got := make([]byte, 5)
	if _, err := f.ReadAt(got, 1<<35); err != nil || !bytes.Equal(got, []byte("hello")) {
		t.Errorf("the copy has %q (%v)", got, err)
	}
	info, err := f.Stat()
	must(t, err)
	if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != 1<<41 || taken > 1<<20 {
		t.Errorf("the copy has %d bytes and takes %d", info.Size(), taken)
	}
}

func TestNothingIsMadeForNothing(t *testing.T) {
	d := openDir(t, Nothing)
	must(t, d.Create(t.Context(), New{ID: "v1", Bytes: 10}))
	must(t, d.Create(t.Context(), New{ID: "v2", Bytes: 10, From: Origin{VolumeID: "v1"}}))
	must(t, d.Snapshot(t.Context(), "s1", "v2"))
	must(t, d.Grow("v1", 20))
	must(t, d.Remove("v1"))
	if left, _ := os.ReadDir(d.volumes()); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
}

func TestACopyThatIsGivenUpLeavesNothing(t *testing.T) {
	d := openDir(t, Directories)
	must(t, d.Create(t.Context(), New{ID: "v1", Bytes: 10}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Create(ctx, New{ID: "v2", Bytes: 10, From: Origin{VolumeID: "v1"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(d.volume("v2")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestSweepRemovesWhatNobodyKnows(t *testing.T) {
	d := openDir(t, Directories)
	must(t, d.Create(t.Context(), New{ID: "known", Bytes: 10}))
	must(t, d.Create(t.Context(), New{ID: "unknown", Bytes: 10}))
	must(t, d.Sweep(func(id string) bool { return id == "known" }, func(string) bool { return false }))
	if left, _ := os.ReadDir(d.volumes()); len(left) != 1 || left[0].Name() != "known" {
		t.Errorf("left is %v", left)
	}
}

func TestACopyIsAsTheOriginIs(t *testing.T) {
	d := openDir(t, Directories)
	must(t, d.Create(t.Context(), New{ID: "v1", Bytes: 10}))
	at := func(id string, path ...string) string {
		return filepath.Join(append([]string{d.volume(id)}, path...)...)
	}
	old := time.Unix(1_600_000_000, 0)
	must(t, os.Mkdir(at("v1", "locked"), 0o755))
	must(t, os.WriteFile(at("v1", "locked", "file"), []byte("hello"), 0o600))
	must(t, os.Chmod(at("v1", "locked", "file"), os.ModeSetuid|0o751))
	must(t, os.Chtimes(at("v1", "locked", "file"), old, old))
	must(t, os.Chmod(at("v1", "locked"), 0o500))
	must(t, os.Chtimes(at("v1", "locked"), old, old))
	must(t, syscall.Mkfifo(at("v1", "pipe"), 0o640))
	socket, err := net.Listen("unix", at("v1", "sock"))
	must(t, err)
	defer socket.Close()
	must(t, os.Chmod(at("v1"), 0o777))
	must(t, d.Create(t.Context(), New{ID: "v2", Bytes: 10, From: Origin{VolumeID: "v1"}}))
	t.Cleanup(func() { // what nobody may write to cannot be removed
		for _, id := range []string{"v1", "v2"} {
			must(t, os.Chmod(at(id, "locked"), 0o700))
		}
	})
	for _, path := range []string{"", "locked", "locked/file", "pipe"} {
		want, err := os.Lstat(at("v1", path))
		must(t, err)
		got, err := os.Lstat(at("v2", path))
		must(t, err)
		if want.Mode() != got.Mode() || path != "pipe" && path != "" && !want.ModTime().Equal(got.ModTime()) {
			t.Errorf("%q: %v of %v, and the copy %v of %v", path, want.Mode(), want.ModTime(), got.Mode(), got.ModTime())
		}
	}
	if _, err := os.Lstat(at("v2", "sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a socket without its process: %v", err)
	}
}

func TestVolumesAreToldByIDsThatMayBeAnything(t *testing.T) {
	d := openDir(t, Directories)
	must(t, d.Create(t.Context(), New{ID: "directory", Bytes: 10}))
	must(t, d.Create(t.Context(), New{ID: "file", Bytes: 10, Block: true}))
	for id, want := range map[string]Kind{
		"directory": Directories, "file": SparseFiles,
		"": Nothing, ".": Nothing, "..": Nothing, "/": Nothing, "../volumes/directory": Nothing, "directory/": Nothing,
		"unknown": Nothing, strings.Repeat("x", 300): Nothing, "nul\x00": Nothing,
	} {
		if _, got, err := d.Volume(id); got != want || err != nil {
			t.Errorf("%.20q is of kind %d (%v), not %d", id, got, err, want)
		}
		if node, err := d.UsedBy(id); node != "" || err != nil {
			t.Errorf("%.20q is used by %q (%v)", id, node, err)
		}
	}
	if info, err := os.Stat(d.volume("file")); err != nil || info.Size() != 4096 {
		t.Errorf("the file cannot be a device of 10 bytes: %v (%v)", info, err)
	}
}

func TestUsesAreOfNodes(t *testing.T) {
	d := openDir(t, Directories)
	used := func(want string) {
		t.Helper()
		if got, err := d.UsedBy("v1"); got != want || err != nil {
			t.Errorf("it is used by %q (%v), not %q", got, err, want)
		}
	}
	used("")
	must(t, d.Use("v1", "node/1"))
	must(t, d.Use("v1", "node/1"))
	must(t, d.Use("v1", "node-2"))
	used("node/1")
	must(t, d.Unuse("v1", "node/1"))
	used("node-2")
	must(t, d.Unuse("v1", "node-2"))
	must(t, d.Unuse("v1", "node-2"))
	used("")
}
