package state

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

var specs = []pool.Spec{{Segments: inZone("a"), Size: 1 << 20}, {Segments: inZone("b"), Size: 1 << 20}}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, specs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(t *testing.T, s *Store, want NewVolume) *Volume {
	t.Helper()
	_, fresh, no := s.Begin(want, "id-of-"+want.Name, time.Unix(1, 0).UTC())
	if no != nil {
		t.Fatal(no)
	}
	if err := s.Commit(fresh); err != nil {
		t.Fatal(err)
	}
	return fresh
}

func named(name string) NewVolume { return aCreation(func(w *NewVolume) { w.Name = name }) }

// everything is all a store knows, for comparing before and after.
func everything(s *Store) any { return []any{s.Volumes(), s.Snapshots(), s.Pools()} }

// copyOf is the state directory as a process leaves it that is killed now: nothing is closed.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "state.log"))
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "state.log"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, name := range []string{"v1", "v2", "v3"} {
		commit(t, s, named(name))
	}
	must := func(no *Refusal, err error) {
		t.Helper()
		if no != nil || err != nil {
			t.Fatal(no, err)
		}
	}
	_, no, err := s.Delete("id-of-v1")
	must(no, err)
	_, no, err = s.Expand("id-of-v2", Range{Required: 99}, nil, false)
	must(no, err)
	_, no, err = s.Publish("id-of-v2", "n1", Publication{Capability: writer}, 0)
	must(no, err)
	_, snap, no := s.BeginSnapshot(NewSnapshot{Name: "s1", SourceVolumeID: "id-of-v3"}, "snap-1", time.Unix(2, 0).UTC())
	must(no, s.CommitSnapshot(snap))
	_, no, err = s.Delete("id-of-v3")
	must(no, err)

	again := open(t, copyOf(t, dir))
	if diff := cmp.Diff(everything(s), everything(again)); diff != "" {
		t.Errorf("replayed (-before +after):\n%s", diff)
	}
	if existing, _, no := again.Begin(named("v2"), "other", time.Time{}); existing == nil || existing.ID != "id-of-v2" {
		t.Errorf("v2 is not found by its name: %v", no)
	}
	if v := commit(t, again, named("v4")); v.Seq <= again.Volumes()[0].Seq {
		t.Errorf("sequence numbers start over: %d", v.Seq)
	}
}

func TestATornLastLineIsCutOff(t *testing.T) {
	for name, tail := range map[string]string{
		"half a record":             `{"volume":{"id":"x"`,
		"a record without its end":  `{"deleteVolume":"id-of-v1"}`,
		"zeros":                     "\x00\x00\x00",
		"half a record, and an end": "{\"volu\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			commit(t, s, named("v1"))
			torn := copyOf(t, dir)
			path := filepath.Join(torn, "state.log")
			appendTo(t, path, tail)
			again := open(t, torn)
			if diff := cmp.Diff(everything(s), everything(again)); diff != "" {
				t.Fatalf("replayed (-before +after):\n%s", diff)
			}
			commit(t, again, named("v2"))
			if third := open(t, copyOf(t, torn)); len(third.Volumes()) != 2 {
				t.Errorf("what came after the torn line is lost: %v", third.Volumes())
			}
		})
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestABadLineInTheMiddleIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state.log"), []byte("what?\n{\"deleteVolume\":\"x\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, specs)
	if err == nil || !strings.Contains(err.Error(), "state.log line 1") {
		t.Errorf("error %v, want one that names the line", err)
	}
}

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	commit(t, s, named("stays"))
	for i := range compactSlack {
		v := commit(t, s, named(fmt.Sprintf("goes-%d", i)))
		if _, no, err := s.Delete(v.ID); no != nil || err != nil {
			t.Fatal(no, err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "state.log"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(raw, []byte("\n")); lines > compactSlack+10 {
		t.Errorf("the log has %d lines for one volume", lines)
	}
	if diff := cmp.Diff(everything(s), everything(open(t, copyOf(t, dir)))); diff != "" {
		t.Errorf("replayed (-before +after):\n%s", diff)
	}
}

func TestADirectoryServesOneStore(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir, specs); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("second store: %v", err)
	}
	s.Close()
	open(t, dir)
}

func TestVolumesOutliveTheirPool(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	v := commit(t, s, named("v1"))
	s.Close()
	again, err := Open(dir, []pool.Spec{{Segments: inZone("z"), Size: 100}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Volume(v.ID) == nil {
		t.Error("the volume is gone")
	}
	if _, no, _ := again.Expand(v.ID, Range{Required: 20}, nil, false); reasonOf(no) != Exhausted {
		t.Errorf("expanding it: %v", no)
	}
	if _, no, err := again.Delete(v.ID); no != nil || err != nil {
		t.Errorf("deleting it: %v %v", no, err)
	}
}

func TestAFailedRecordLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	before := everything(s)
	_, fresh, no := s.Begin(named("v1"), "id", time.Time{})
	if no != nil {
		t.Fatal(no)
	}
	s.journal.file.Close()
	if err := s.Commit(fresh); err == nil {
		t.Fatal("recorded on a closed file")
	}
	if diff := cmp.Diff(before, everything(s)); diff != "" {
		t.Errorf("left behind (-before +after):\n%s", diff)
	}
}
