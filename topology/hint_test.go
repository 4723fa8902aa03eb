package topology

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseHint(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string
		err  string
	}{
		"one segment":                     {text: "v1;zone=a", want: []string{"zone=a"}},
		"several, in their order":         {text: "v1;zone=b;zone=a,rack=1;zone=c", want: []string{"zone=b", "rack=1,zone=a", "zone=c"}},
		"keys with a prefix":              {text: "v1;topology.kubernetes.io/zone=eu-1a", want: []string{"topology.kubernetes.io/zone=eu-1a"}},
		"written by hand, with space":     {text: " v1 ; zone = a , rack=1 ;\tzone=b\n", want: []string{"rack=1,zone=a", "zone=b"}},
		"an empty value is one":           {text: "v1;zone=", want: []string{"zone="}},
		"a segment twice counts once":     {text: "v1;zone=a;zone=b;zone=a", want: []string{"zone=a", "zone=b"}},
		"nothing":                         {text: "", err: `it begins with "" and not with the version "v1"`},
		"a version alone":                 {text: "v1", err: "it names no segment"},
		"a version and a semicolon":       {text: "v1; ", err: "it names no segment"},
		"no version":                      {text: "zone=a;zone=b", err: `it begins with "zone=a" and not with the version "v1"`},
		"a version that is to come":       {text: "v2;zone=a", err: `it begins with "v2"`},
		"a semicolon at the end":          {text: "v1;zone=a;", err: "a segment in it is empty"},
		"a comma at the end":              {text: "v1;zone=a,", err: `"" in it is not of the form key=value`},
		"no value":                        {text: "v1;zone", err: `"zone" in it is not of the form key=value`},
		"no key":                          {text: "v1;=a", err: `"=a" in it is not of the form key=value`},
		"two zones at once":               {text: "v1;zone=a,zone=b", err: `a segment in it has the topology key "zone" twice`},
		"a key that cannot be a label's":  {text: "v1;zo ne=a", err: `topology key "zo ne" cannot be a label`},
		"a value that cannot be a label":  {text: "v1;zone=a=b", err: `value "a=b" of topology key "zone" cannot be a label's`},
		"more than an annotation is for":  {text: "v1;" + strings.Repeat("zone=a;", 3000) + "zone=a", err: "it has 21009 bytes, 16384 are allowed"},
		"what it quotes has a bound":      {text: strings.Repeat("x", 5000), err: "(and 4900 more bytes)"},
		"the longest text that is read":   {text: "v1;" + strings.Repeat("zone=a;", 2339) + "z=b", want: []string{"zone=a", "z=b"}},
		"separators of other encodings":   {text: "v1;zone=\x1f", err: "cannot be a label's"},
		"a value longer than a label has": {text: "v1;zone=" + strings.Repeat("x", 64), err: "cannot be a label's"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseHint(tt.text)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, %v; want an error with %s", got, err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, names(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFormatHint(t *testing.T) {
	tests := map[string]struct {
		segments []Segment
		want     string
	}{
		"nothing":                         {nil, ""},
		"in order":                        {[]Segment{seg("zone", "b"), seg("zone", "a", "rack", "1")}, "v1;zone=b;rack=1,zone=a"},
		"a repeat":                        {zones("a", "b", "a"), "v1;zone=a;zone=b"},
		"a segment without keys":          {[]Segment{{}, seg("zone", "a")}, "v1;zone=a"},
		"a segment that no node is in":    {[]Segment{seg("zone", "a;b"), seg("zone", "a")}, "v1;zone=a"},
		"only segments that nobody is in": {[]Segment{{}, seg("", "")}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := FormatHint(tt.segments); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHintKeyIsTheDrivers(t *testing.T) {
	if got := HintKey("driver.example"); got != "driver.example/topology-hint" {
		t.Errorf("got %q", got)
	}
}

func TestFormatHintWritesNoMoreThanParseHintReads(t *testing.T) {
	var many []Segment
	for i := range 5000 {
		many = append(many, seg("topology.example/node", fmt.Sprintf("node-%d", i)))
	}
	got, err := ParseHint(FormatHint(many))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) < 100 || !slices.Equal(got, many[:len(got)]) {
		t.Errorf("of %d segments the first %d were read back, want the first hundreds in order", len(many), len(got))
	}
}

// FuzzHint checks that whatever is read can be written and read again, and that segments of any strings come back or are left out.
func FuzzHint(f *testing.F) {
	f.Add("v1;zone=a,rack=1;zone=b", "zone", "a")
	f.Add("v1; topology.kubernetes.io/zone = eu-1a ;zone=", "zone", "a;b")
	f.Add("v2;zone=a", "", "")
	f.Add("v1;zone=a;", "a,b", "c=d")
	f.Fuzz(func(t *testing.T, text, key, value string) {
		if segments, err := ParseHint(text); err == nil {
			again, err := ParseHint(FormatHint(segments))
			if err != nil || !slices.Equal(segments, again) {
				t.Errorf("%q: %v, and read again %v, %v", text, segments, again, err)
			}
		}
		written := FormatHint([]Segment{NewSegment(map[string]string{key: value}), seg("zone", "z")})
		if _, err := ParseHint(written); err != nil {
			t.Errorf("%q=%q: wrote %q, which cannot be read: %v", key, value, written, err)
		}
	})
}

func TestSpreadIsAPlaceInTheList(t *testing.T) {
	tests := map[string]struct {
		claim    string
		segments int
		replica  bool
	}{
		"a claim of its own":      {"data", 3, false},
		"a set's claim":           {"data-web-0", 3, true},
		"a name with a dash":      {"my-data", 3, false},
		"an ordinal out of range": {"data-99999999999", 3, false},
		"no name":                 {"", 3, false},
		"no segments":             {"data-web-0", 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			first, replica := Spread(tt.claim, tt.segments)
			if replica != tt.replica || first < 0 || first >= max(1, tt.segments) {
				t.Errorf("starts at %d of %d, replica %v", first, tt.segments, replica)
			}
		})
	}
}

func TestSpreadStartsTheNextReplicaAtTheNextSegment(t *testing.T) {
	first, _ := Spread("data-web-0", 3)
	for i := range 7 {
		if got, _ := Spread(fmt.Sprintf("data-web-%d", i), 3); got != (first+i)%3 {
			t.Errorf("replica %d starts at %d, want %d", i, got, (first+i)%3)
		}
		if got, _ := Spread(fmt.Sprintf("log-web-%d", i), 3); got != (first+i)%3 {
			t.Errorf("another volume of replica %d starts at %d, want %d", i, got, (first+i)%3)
		}
	}
	required, err := Require(Need{ClaimName: "data-web-5", Candidates: zones("a", "b", "c"), Immediate: true})
	at, _ := Spread("data-web-5", 3)
	if err != nil || required.Preferred[0] != zones("a", "b", "c")[at] {
		t.Errorf("Require prefers %v (%v), Spread says %d", required.Preferred, err, at)
	}
}
