package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJSONHasTheFieldsThatReadersKnow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "figures.json")
	rows := []row{{seed: 7, figures: figures{
		Subject: subjectPeer, Claims: 500, Deleted: 166, Kills: 17, Leaked: 3, Doubled: 1, Unbound: 2, PVWithoutVolume: 4,
	}}}
	if err := writeJSON(file, rows); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := `[
  {
    "subject": "peer",
    "claims": 500,
    "deleted": 166,
    "kills": 17,
    "leaked": 3,
    "doubled": 1,
    "unbound": 2,
    "pv_without_volume": 4
  }
]
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
