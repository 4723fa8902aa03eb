//go:build e2e

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestShort breaks everything once or twice. It has a control plane of its own, because it restarts the API server. Its
// schedule is another one every time; the seed is in the log.
func TestShort(t *testing.T) {
	o := shortOptions()
	o.JSON = filepath.Join(t.TempDir(), "figures.json")
	if err := chaos(t.Context(), o, t.Output(), t.Output()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(o.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var got []figures
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Kills < 1 {
		t.Fatalf("figures are %+v, want those of one run with kills", got)
	}
	want := figures{Subject: subjectBerth, Claims: o.Claims, Deleted: o.Claims / 3, Kills: got[0].Kills}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
