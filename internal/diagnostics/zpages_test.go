package diagnostics

import "testing"

func TestParseVersion(t *testing.T) {
	for name, want := range map[string]string{
		"v1.2.3":          "1.2.3",
		"v1.2.3-4-gabcde": "1.2.3-4-gabcde",
		"a656905-dirty":   "0.0.0-x-a656905-dirty",
		"0001":            "0.0.0-x-0001",
		"unknown":         "0.0.0-x-unknown",
		"":                "0.0.0-x-",
		"v1 (mine)+x":     "0.0.0-x-v1-mine-x",
	} {
		if got := parseVersion(name).String(); got != want {
			t.Errorf("%q is version %s, want %s", name, got, want)
		}
	}
}
