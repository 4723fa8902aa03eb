package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// request is an audit event with defaults: a successful creation of a claim by Berth at noon.
type request struct {
	stage, agent, verb, uri, ref, at string
	code                             int
}

func (r request) line() string {
	or := func(s, otherwise string) string {
		if s == "" {
			return otherwise
		}
		return s
	}
	if r.code == 0 {
		r.code = 201
	}
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","stage":%q,"requestURI":%q,`+
		`"verb":%q,"user":{"username":"x"},"sourceIPs":["127.0.0.1"],"userAgent":%q,"objectRef":%s,`+
		`"responseStatus":{"metadata":{},"code":%d},"requestReceivedTimestamp":%q}`+"\n",
		or(r.stage, "ResponseComplete"), or(r.uri, "/api/v1/x"), or(r.verb, "create"),
		or(r.agent, "berth/v1.0.0 (linux/amd64) provisioner"),
		or(r.ref, `{"resource":"persistentvolumeclaims","namespace":"default","apiVersion":"v1"}`),
		r.code, or(r.at, "2026-01-02T12:00:00.000000Z"))
}

func TestCounting(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	claims := func(n int) Count {
		return Count{UserAgent: "berth", Verb: "create", Resource: "persistentvolumeclaims", Code: 201, Count: n}
	}
	cases := map[string]struct {
		requests []request
		filter   Filter
		rest     string
		want     []Count
	}{
		"an empty log": {want: []Count{}},
		"equal requests are added up, the user agent cut at its first slash": {
			requests: []request{{}, {agent: "berth/v2"}, {agent: "berth"}},
			want:     []Count{claims(3)},
		},
		"the most frequent comes first, then by name": {
			requests: []request{{verb: "list", code: 200}, {verb: "get", code: 200}, {}, {}},
			want: []Count{
				claims(2),
				{UserAgent: "berth", Verb: "get", Resource: "persistentvolumeclaims", Code: 200, Count: 1},
				{UserAgent: "berth", Verb: "list", Resource: "persistentvolumeclaims", Code: 200, Count: 1},
			},
		},
		"groups, subresources and codes are told apart": {
			requests: []request{
				{ref: `{"resource":"csinodes","apiGroup":"storage.k8s.io"}`},
				{ref: `{"resource":"serviceaccounts","subresource":"token"}`},
				{ref: `{"resource":"serviceaccounts"}`, code: 409},
			},
			want: []Count{
				{UserAgent: "berth", Verb: "create", Resource: "csinodes.storage.k8s.io", Code: 201, Count: 1},
				{UserAgent: "berth", Verb: "create", Resource: "serviceaccounts", Code: 409, Count: 1},
				{UserAgent: "berth", Verb: "create", Resource: "serviceaccounts", Subresource: "token", Code: 201, Count: 1},
			},
		},
		"requests outside resources are counted by path": {
			requests: []request{{verb: "get", ref: "null", uri: "/apis?timeout=32s", code: 200}},
			want:     []Count{{UserAgent: "berth", Verb: "get", Resource: "/apis", Code: 200, Count: 1}},
		},
		"only complete requests count": {
			requests: []request{{stage: "RequestReceived"}, {stage: "ResponseStarted"}, {}},
			want:     []Count{claims(1)},
		},
		"a user agent filter sees the whole user agent": {
			requests: []request{{}, {agent: "berth/v1.0.0 (linux/amd64) capacity"}, {agent: "other"}},
			filter:   Filter{UserAgent: regexp.MustCompile("^berth.*provisioner$")},
			want:     []Count{claims(1)},
		},
		"since is included, until is not": {
			requests: []request{
				{at: "2026-01-02T11:59:59.999999Z"},
				{at: "2026-01-02T12:00:00.000000Z"},
				{at: "2026-01-02T13:00:00.500000+01:00"},
				{at: "2026-01-02T12:00:01.000000Z"},
			},
			filter: Filter{Since: noon, Until: noon.Add(time.Second)},
			want:   []Count{claims(2)},
		},
		"a line longer than any buffer": {
			requests: []request{{uri: "/api/v1/x?" + strings.Repeat("x", 3<<20)}, {}},
			want:     []Count{claims(2)},
		},
		"a line that is still being written is left alone": {
			requests: []request{{}},
			rest:     `{"kind":"Event","stage":"Resp`,
			want:     []Count{claims(1)},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			for _, r := range c.requests {
				log.WriteString(r.line())
			}
			log.WriteString(c.rest)
			counter := Counter{Filter: c.filter}
			if err := counter.Add(strings.NewReader(log.String())); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, counter.Counts()); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALineThatIsNoEventIsAnError(t *testing.T) {
	var counter Counter
	err := counter.Add(strings.NewReader(request{}.line() + "not json\n"))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v, want one that names line 2", err)
	}
}

func TestRotatedLogsAreCountedToo(t *testing.T) {
	dir := t.TempDir()
	for file, n := range map[string]int{"audit.log": 1, "audit-2026-01-02T12-00-00.000.log": 2, "other.log": 4} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Repeat(request{}.line(), n)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var counter Counter
	if err := counter.AddFiles(filepath.Join(dir, "audit.log")); err != nil {
		t.Fatal(err)
	}
	if counts := counter.Counts(); len(counts) != 1 || counts[0].Count != 3 {
		t.Errorf("counts %v, want 3 requests of one kind", counts)
	}
}

func BenchmarkCounting(b *testing.B) {
	line := request{}.line()
	log := strings.Repeat(line, 10_000)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		var counter Counter
		if err := counter.Add(strings.NewReader(log)); err != nil {
			b.Fatal(err)
		}
	}
}
