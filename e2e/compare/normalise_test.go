package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const uid = "01234567-89ab-4cde-8f01-23456789abcd"

func TestNamesAreEvenedOut(t *testing.T) {
	known := uidPlaceholders(uid, "UID")
	known["vol-1"], known["vol-12"], known[""] = "HANDLE", "HANDLE-OF-source", "NEVER"
	n := newNames(known)
	for name, test := range map[string]struct{ in, want string }{
		"a UID":                                 {"pvc-" + uid, "pvc-UID"},
		"a UID without dashes":                  {"vol-0123456789ab4cde8f0123456789abcd", "vol-UID[:32]"},
		"the beginning of a UID":                {"p-0123456789ab", "p-UID[:12]"},
		"too little of a UID to be one":         {"p-0123456", "p-0123456"},
		"a handle":                              {"vol-1", "HANDLE"},
		"a handle that begins like another":     {"vol-12", "HANDLE-OF-source"},
		"a text with several":                   {"vol-1 of " + uid + " and vol-12", "HANDLE of UID and HANDLE-OF-source"},
		"a text that has nothing to do with it": {"pool.csi.berth.dev", "pool.csi.berth.dev"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := n.in(test.in); got != test.want {
				t.Errorf("%q became %q, want %q", test.in, got, test.want)
			}
		})
	}
}

func TestNamesAreEvenedOutEverywhere(t *testing.T) {
	n := newNames(map[string]string{"vol-1": "HANDLE"})
	in := map[string]any{"vol-1": []any{"vol-1", 1.0, true, nil, map[string]any{"id": "vol-1"}}}
	want := map[string]any{"HANDLE": []any{"HANDLE", 1.0, true, nil, map[string]any{"id": "HANDLE"}}}
	if diff := cmp.Diff(want, n.inAll(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if in["vol-1"] == nil {
		t.Error("the original was changed")
	}
}

func TestVolumeIsNamedAfterItsClaim(t *testing.T) {
	for name, test := range map[string]struct {
		volume string
		want   bool
	}{
		"prefix and UID":                     {"pvc-" + uid, true},
		"prefix with dashes and UID":         {"kubernetes-dynamic-" + uid, true},
		"prefix and the beginning of a UID":  {"pvc-0123456789ab4c", true},
		"prefix and another UID":             {"pvc-f1234567-89ab-4cde-8f01-23456789abcd", false},
		"prefix and a short beginning of it": {"pvc-0123", false},
		"nothing":                            {"", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := namedAfter(test.volume, uid); got != test.want {
				t.Errorf("namedAfter(%q) = %v, want %v", test.volume, got, test.want)
			}
		})
	}
}

func TestStoredObjectLosesWhatHasToDiffer(t *testing.T) {
	got := stored(map[string]any{
		"metadata": map[string]any{
			"name": "pvc-UID", "uid": "x", "resourceVersion": "5", "creationTimestamp": "now", "managedFields": []any{},
			"finalizers": []any{"b", "a"}, "annotations": map[string]any{"key": "value"},
		},
		"spec": map[string]any{
			"claimRef": map[string]any{"name": "data", "resourceVersion": "4"},
			"csi":      map[string]any{"volumeAttributes": map[string]any{identityKey: "1763760000000-1234-driver", "pool": "a"}},
		},
		"status": map[string]any{"phase": "Bound", "lastPhaseTransitionTime": "now"},
	})
	want := map[string]any{
		"metadata": map[string]any{
			"name": "pvc-UID", "finalizers": []any{"a", "b"}, "annotations": map[string]any{"key": "value"},
		},
		"spec": map[string]any{
			"claimRef": map[string]any{"name": "data", "resourceVersion": "SOME"},
			"csi":      map[string]any{"volumeAttributes": map[string]any{identityKey: "SOME", "pool": "a"}},
		},
		"status": map[string]any{"phase": "Bound"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsMissingIsNotMadeUp(t *testing.T) {
	in := map[string]any{
		"metadata": map[string]any{"name": "x"},
		"spec":     map[string]any{"claimRef": map[string]any{"resourceVersion": ""}},
	}
	want := map[string]any{
		"metadata": map[string]any{"name": "x"},
		"spec":     map[string]any{"claimRef": map[string]any{"resourceVersion": ""}},
	}
	if diff := cmp.Diff(want, stored(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
