package explain

import (
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

func TestQuoteIsOneHarmlessLine(t *testing.T) {
	if got := quote("a\r\nb\t\x1b[31mred\x00  c"); got != "a b [31mred c" {
		t.Errorf("got %q", got)
	}
	if got := []rune(quote(strings.Repeat("ü", 5000))); len(got) != maxQuote+1 || got[maxQuote] != '…' {
		t.Errorf("got %d characters", len(got))
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "1": "1", "10Gi": "10Gi", "1536Mi": "1536Mi", "1Ti": "1Ti", "5G": "4.7Gi", "1025": "1025", "102399Mi": "100.0Gi", "7Ei": "7Ei",
	} {
		if got := size(resource.MustParse(text)); got != want {
			t.Errorf("%s is written %s, want %s", text, got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "just now", 0: "just now", time.Second: "1s ago", 90 * time.Minute: "90m ago"} {
		if got := ago(three, three.Add(-d)); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func TestAgoOfATimeThatNobodySet(t *testing.T) {
	if got := ago(three, time.Time{}); got != "at an unknown time" {
		t.Errorf("got %q", got)
	}
}

func TestSimilar(t *testing.T) {
	tests := map[string]struct {
		name  string
		names []string
		want  []string
	}{
		"a letter left out":           {"dta", []string{"logs", "data"}, []string{"data"}},
		"two letters in a long name":  {"postgres-data", []string{"postgers-data", "mysql-data"}, []string{"postgers-data"}},
		"a claim of a StatefulSet":    {"data", []string{"data-web-0"}, []string{"data-web-0"}},
		"what comes before is left":   {"web-data", []string{"data"}, nil},
		"the nearest comes first":     {"abcdefghi", []string{"abcdxxxhi", "abcdefgh", "abcdefxhi"}, []string{"abcdefgh", "abcdefxhi", "abcdxxxhi"}},
		"the name itself is not like": {"data", []string{"data"}, nil},
		"no more than so many":        {"data", []string{"data-1", "data-2", "data-3", "data-4"}, []string{"data-1", "data-2", "data-3"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := similar(tt.name, tt.names, 3); !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWrapKeepsCommandsInOnePiece(t *testing.T) {
	got := wrap(`See it with "kubectl get pods -n storage", and more`, 30)
	want := []string{"See it with", `"kubectl get pods -n storage",`, "and more"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := wrap(`an odd " quote `+strings.Repeat("word ", 40), 60); len(got) < 3 {
		t.Errorf("a quotation that does not end is not broken: %q", got)
	}
}
