package data

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
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
	must(t, d.Create(ctx, "v1", 10, Origin{}))
	must(t, os.Mkdir(filepath.Join(d.volume("v1"), "sub"), 0o700))
	must(t, os.WriteFile(filepath.Join(d.volume("v1"), "sub", "file"), []byte("hello"), 0o600))
	must(t, os.Symlink("sub/file", filepath.Join(d.volume("v1"), "link")))
	must(t, d.Snapshot(ctx, "s1", "v1"))
	must(t, d.Remove("v1"))
	must(t, d.Create(ctx, "v2", 10, Origin{SnapshotID: "s1"}))
	must(t, d.Create(ctx, "v3", 10, Origin{VolumeID: "v2"}))
	got, err := os.ReadFile(filepath.Join(d.volume("v3"), "link"))
	if err != nil || string(got) != "hello" {
		t.Errorf("the copy of the copy has %q (%v)", got, err)
	}
}

func TestSparseFilesStaySparse(t *testing.T) {
	d := openDir(t, SparseFiles)
	must(t, d.Create(t.Context(), "v1", 1<<40, Origin{}))
	f, err := os.OpenFile(d.volume("v1"), os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("hello"), 1<<35)
	must(t, errors.Join(err, f.Close()))
	must(t, d.Create(t.Context(), "v2", 1<<41, Origin{VolumeID: "v1"}))
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
	must(t, d.Create(t.Context(), "v1", 10, Origin{}))
	must(t, d.Create(t.Context(), "v2", 10, Origin{VolumeID: "v1"}))
	must(t, d.Snapshot(t.Context(), "s1", "v2"))
	must(t, d.Grow("v1", 20))
	must(t, d.Remove("v1"))
	if left, _ := os.ReadDir(d.volumes()); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
}

func TestACopyThatIsGivenUpLeavesNothing(t *testing.T) {
	d := openDir(t, Directories)
	must(t, d.Create(t.Context(), "v1", 10, Origin{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Create(ctx, "v2", 10, Origin{VolumeID: "v1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(d.volume("v2")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

func TestSweepRemovesWhatNobodyKnows(t *testing.T) {
	d := openDir(t, Directories)
	must(t, d.Create(t.Context(), "known", 10, Origin{}))
	must(t, d.Create(t.Context(), "unknown", 10, Origin{}))
	must(t, d.Sweep(func(id string) bool { return id == "known" }, func(string) bool { return false }))
	if left, _ := os.ReadDir(d.volumes()); len(left) != 1 || left[0].Name() != "known" {
		t.Errorf("left is %v", left)
	}
}
