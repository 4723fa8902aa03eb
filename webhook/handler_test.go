package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/labels"
	storagev1listers "k8s.io/client-go/listers/storage/v1"
	"k8s.io/klog/v2/ktesting"

	"github.com/berth-csi/berth/datasource"
)

// classesFunc is a lister that does as it is told.
type classesFunc func(name string) (*storagev1.StorageClass, error)

func (c classesFunc) Get(name string) (*storagev1.StorageClass, error) { return c(name) }

func (c classesFunc) List(labels.Selector) ([]*storagev1.StorageClass, error) { return nil, nil }

var _ storagev1listers.StorageClassLister = classesFunc(nil)

func TestConfigValidate(t *testing.T) {
	good := testConfig(cached(t))
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"all is there":                       {func(*Config) {}, ""},
		"a driver's name may have capitals":  {func(c *Config) { c.Driver = "CSI.Example" }, ""},
		"no driver":                          {func(c *Config) { c.Driver = "" }, "the driver has no name"},
		"a driver that is no key's prefix":   {func(c *Config) { c.Driver = "under_score" }, `driver name "under_score" cannot be the prefix of an annotation's key`},
		"a negative limit":                   {func(c *Config) { c.Limits.InFlight = -1 }, "a limit is negative"},
		"nothing to look up classes in":      {func(c *Config) { c.Lookups.Classes = nil }, "cannot be looked up"},
		"what is optional may be left out":   {func(c *Config) { c.Lookups.Rooms, c.Lookups.Contents, c.Lookups.Snapshots = nil, nil, nil }, ""},
		"nothing to read data sources with ": {func(c *Config) { c.Lookups.Sources = nil }, "cannot be looked up"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config := good
			tt.change(&config)
			err := config.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWhatIsNoReviewIsTurnedAway(t *testing.T) {
	review := func(change func(*admissionv1.AdmissionReview)) string {
		review := reviewOf(kindClaim(), marshal(t, makeClaim()), nil)
		change(review)
		return string(marshal(t, review))
	}
	good := review(func(*admissionv1.AdmissionReview) {})
	tests := map[string]struct {
		method, contentType, body string
		want                      int
		says                      string
	}{
		"a review":                  {"POST", "application/json", good, 200, ""},
		"a review in UTF-8":         {"POST", "application/json; charset=utf-8", good, 200, ""},
		"another method":            {"GET", "application/json", good, 405, ""},
		"no content type":           {"POST", "", good, 415, "it has to be application/json"},
		"another content type":      {"POST", "application/vnd.kubernetes.protobuf", good, 415, "it has to be application/json"},
		"a broken content type":     {"POST", ";;\n", good, 415, "it has to be application/json"},
		"no body":                   {"POST", "application/json", "", 400, "the request has no body"},
		"a body that is no JSON":    {"POST", "application/json", "{", 400, "the request's body is no AdmissionReview"},
		"more than one document":    {"POST", "application/json", good + good, 400, "is no AdmissionReview"},
		"a body that is too long":   {"POST", "application/json", strings.Repeat(" ", 20_000) + good, 413, "larger than 20000 bytes"},
		"an old version":            {"POST", "application/json", strings.Replace(good, "admission.k8s.io/v1", "admission.k8s.io/v1beta1", 1), 400, `of "admission.k8s.io/v1beta1": it has to be an AdmissionReview of admission.k8s.io/v1`},
		"another kind":              {"POST", "application/json", review(func(r *admissionv1.AdmissionReview) { r.Kind = "Pod" }), 400, `is a "Pod"`},
		"another spelling":          {"POST", "application/json", strings.Replace(good, `"kind":"AdmissionReview"`, `"Kind":"AdmissionReview"`, 1), 400, `is a ""`},
		"no request":                {"POST", "application/json", review(func(r *admissionv1.AdmissionReview) { r.Request = nil }), 400, "has no request"},
		"no UID":                    {"POST", "application/json", review(func(r *admissionv1.AdmissionReview) { r.Request.UID = "" }), 400, "has no UID"},
		"no operation":              {"POST", "application/json", review(func(r *admissionv1.AdmissionReview) { r.Request.Operation = "" }), 400, "has no operation"},
		"a field of a later day":    {"POST", "application/json", strings.Replace(good, `"request":{`, `"request":{"new":1,`, 1), 200, ""},
		"a text where an object is": {"POST", "application/json", strings.Replace(good, `"kind":{`, `"kind":"x","ignored":{`, 1), 400, "is no AdmissionReview"},
	}
	config := testConfig(cached(t, makeClass()))
	config.Limits.Body = 20_000
	handler := Handler(config)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{PathMutateClaim, PathValidateClaim, PathValidateContent} {
				r := httptest.NewRequest(tt.method, path, strings.NewReader(tt.body))
				r.Header.Set("Content-Type", tt.contentType)
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.says) {
					t.Errorf("%s: got %d: %s", path, w.Code, w.Body)
				}
			}
		})
	}
	if w := post(handler, "/mutate", []byte(good)); w.Code != http.StatusNotFound {
		t.Errorf("another path: %d", w.Code)
	}
}

// unending is a body of unknown length.
type unending struct{ io.Reader }

func TestABodyOfUnknownLengthHasALimit(t *testing.T) {
	config := testConfig(cached(t))
	config.Limits.Body = 1000
	handler := Handler(config)
	for want, body := range map[int]io.Reader{
		http.StatusRequestEntityTooLarge: unending{bytes.NewReader(make([]byte, 5000))},
		http.StatusBadRequest:            unending{io.MultiReader(strings.NewReader("{"), brokenReader{})},
	} {
		r := httptest.NewRequest(http.MethodPost, PathMutateClaim, body)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("got %d %s, want %d", w.Code, w.Body, want)
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestPatience(t *testing.T) {
	for query, want := range map[string]time.Duration{
		"timeout=10s":   9 * time.Second,
		"timeout=2s":    1600 * time.Millisecond,
		"timeout=1s":    800 * time.Millisecond,
		"timeout=100ms": 50 * time.Millisecond,
		"timeout=1h":    29 * time.Second,
		"timeout=-1s":   9 * time.Second,
		"timeout=soon":  9 * time.Second,
		"":              9 * time.Second,
	} {
		if got := patience(httptest.NewRequest(http.MethodPost, "/?"+query, nil)); got != want {
			t.Errorf("%q: got %v, want %v", query, got, want)
		}
	}
}

func TestWhatIsNotJudgedIsLetIn(t *testing.T) {
	change := func(change func(*admissionv1.AdmissionRequest)) *admissionv1.AdmissionReview {
		review := reviewOf(kindClaim(), marshal(t, makeClaim()), nil)
		change(review.Request)
		return review
	}
	failing := testConfig(cached(t, makeClass()))
	failing.Lookups.Classes = classesFunc(func(string) (*storagev1.StorageClass, error) { return nil, errors.New("no cache") })
	panicking := testConfig(cached(t, makeClass()))
	panicking.Lookups.Classes = classesFunc(func(string) (*storagev1.StorageClass, error) { panic("a bug") })
	good := testConfig(cached(t, makeClass()))
	tests := map[string]struct {
		config Config
		review *admissionv1.AdmissionReview
		reason string
		silent bool // for whoever creates the object
	}{
		"a Pod":                   {good, change(func(r *admissionv1.AdmissionRequest) { r.Kind.Kind = "Pod" }), ReasonNotConcerned, true},
		"a claim's status":        {good, change(func(r *admissionv1.AdmissionRequest) { r.SubResource = "status" }), ReasonNotConcerned, true},
		"a claim's deletion":      {good, change(func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Delete }), ReasonNotConcerned, true},
		"a connection":            {good, change(func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Connect }), ReasonNotConcerned, true},
		"an operation to be":      {good, change(func(r *admissionv1.AdmissionRequest) { r.Operation = "PONDER" }), ReasonNotConcerned, true},
		"no object":               {good, change(func(r *admissionv1.AdmissionRequest) { r.Object.Raw = nil }), ReasonUndecodable, false},
		"a claim of another form": {good, change(func(r *admissionv1.AdmissionRequest) { r.Object.Raw = []byte(`{"spec":{"volumeName":7}}`) }), ReasonUndecodable, false},
		"a claim with a bad size": {good, change(func(r *admissionv1.AdmissionRequest) {
			r.Object.Raw = []byte(`{"spec":{"resources":{"requests":{"storage":"secret"}}}}`)
		}), ReasonUndecodable, false},
		"an update without before":    {good, change(func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Update }), ReasonUndecodable, false},
		"a cache that cannot be read": {failing, change(func(*admissionv1.AdmissionRequest) {}), ReasonLookupFailed, false},
		"a bug":                       {panicking, change(func(*admissionv1.AdmissionRequest) {}), ReasonPanic, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{PathMutateClaim, PathValidateClaim} {
				registry := prometheus.NewRegistry()
				config := tt.config
				config.Metrics = registry
				response := ask(t, Handler(config), path, tt.review)
				if !response.Allowed || response.Patch != nil {
					t.Fatalf("%s: %+v", path, response)
				}
				if warns := len(response.Warnings) > 0; warns != (path == PathValidateClaim && !tt.silent) {
					t.Errorf("%s: warns of %q", path, response.Warnings)
				}
				counts := false
				for name := range counted(t, registry) {
					counts = counts || strings.HasSuffix(name, " "+tt.reason)
				}
				if !counts {
					t.Errorf("%s: not counted as %s: %v", path, tt.reason, counted(t, registry))
				}
			}
		})
	}
}

func TestMutationOfAClaimWithoutMetadataIsNone(t *testing.T) {
	response := ask(t, Handler(testConfig(cached(t, makeClass()))), PathMutateClaim,
		reviewOf(kindClaim(), []byte(`{"spec":{"storageClassName":"fast"}}`), nil))
	if !response.Allowed || response.Patch != nil {
		t.Errorf("%+v", response)
	}
}

func TestReviewsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	snapshot, content := makeSnapshot(filesystem)
	config := testConfig(cached(t, makeClass(), snapshot, content))
	config.Metrics = registry
	config.Lookups.Sources = liveSources(config.Lookups.asLive)
	handler := Handler(config)
	_, old := makeSnapshot("")
	ask(t, handler, PathMutateClaim, reviewOf(kindClaim(), marshal(t, makeClaim()), nil))
	ask(t, handler, PathMutateClaim, reviewOf(kindClaim(), marshal(t, makeClaim(ofClass(""))), nil))
	ask(t, handler, PathMutateClaim, reviewOf(kindClaim(), marshal(t, makeClaim()), marshal(t, makeClaim())))
	ask(t, handler, PathValidateClaim, reviewOf(kindClaim(), marshal(t, makeClaim(fromSnapshot, ofMode(block))), nil))
	ask(t, handler, PathValidateContent, reviewOf(kindContent(), marshal(t, content), marshal(t, old)))
	post(handler, PathMutateClaim, nil)
	want := map[string]float64{
		"berth_admission_live_reads_total done":                                             1,
		"berth_admission_reviews_total admitted mutate-claim CREATE NoStorageClass":         1,
		"berth_admission_reviews_total admitted mutate-claim UPDATE NothingNew":             1,
		"berth_admission_reviews_total invalid mutate-claim  InvalidReview":                 1,
		"berth_admission_reviews_total patched mutate-claim CREATE Annotated":               1,
		"berth_admission_reviews_total refused validate-claim CREATE VolumeModeDiffers":     1,
		"berth_admission_reviews_total refused validate-content UPDATE SourceVolumeModeSet": 1,
		"berth_admission_review_duration_seconds mutate-claim":                              4,
		"berth_admission_review_duration_seconds validate-claim":                            1,
		"berth_admission_review_duration_seconds validate-content":                          1,
	}
	if diff := cmp.Diff(want, counted(t, registry)); diff != "" {
		t.Error(diff)
	}
}

// counted is every figure of a registry by its metric's name and the values of its labels, which are in order of their names.
func counted(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			all[name] = metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestADryRunIsAnsweredLikeAnyOther(t *testing.T) {
	handler := Handler(testConfig(cached(t, makeClass())))
	review := reviewOf(kindClaim(), marshal(t, makeClaim()), nil)
	wet := ask(t, handler, PathMutateClaim, review)
	review.Request.DryRun = new(true)
	if diff := cmp.Diff(wet, ask(t, handler, PathMutateClaim, review)); diff != "" {
		t.Error(diff)
	}
}

func TestClaimsWithoutANameAreSpreadOverPlaces(t *testing.T) {
	handler := Handler(testConfig(cached(t, makeClass(), published("fast", "a", 9), published("fast", "b", 9), published("fast", "c", 9))))
	first := map[string]bool{}
	for i := range 30 {
		review := reviewOf(kindClaim(), marshal(t, makeClaim(func(claim *corev1.PersistentVolumeClaim) { claim.Name, claim.GenerateName = "", "data-" })), nil)
		review.Request.UID = review.Request.UID + "-" + review.Request.UID[:i%5]
		var steps []operation
		if err := json.Unmarshal(ask(t, handler, PathMutateClaim, review).Patch, &steps); err != nil {
			t.Fatal(err)
		}
		first[strings.Split(steps[len(steps)-1].Value.(string), ";")[1]] = true
	}
	if len(first) < 2 {
		t.Errorf("all begin with %v", first)
	}
}

func TestLogsHoldNothingOfTheObjects(t *testing.T) {
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true), ktesting.Verbosity(10)))
	snapshot, content := makeSnapshot(filesystem)
	config := testConfig(cached(t, makeClass(), snapshot, content))
	config.Lookups.Sources, config.Logger = liveSources(config.Lookups.asLive), logger
	handler := Handler(config)
	secret := annotated("kubectl", "hunter2")
	for _, claim := range [][]byte{
		marshal(t, makeClaim(secret)), marshal(t, makeClaim(secret, fromSnapshot, ofMode(block))),
		[]byte(`{"spec":{"volumeName":7,"x":"hunter2"}}`), []byte(`{"spec":{"resources":{"requests":{"storage":"hunter2"}}}}`),
		[]byte(`{"metadata":{"creationTimestamp":"hunter2"}}`), []byte(`["hunter2"]`),
	} {
		ask(t, handler, PathMutateClaim, reviewOf(kindClaim(), claim, nil))
		ask(t, handler, PathValidateClaim, reviewOf(kindClaim(), claim, nil))
	}
	log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
	if strings.Contains(log, "hunter2") || !strings.Contains(log, "VolumeModeDiffers") || !strings.Contains(log, "Annotated") {
		t.Errorf("logged: %s", log)
	}
}

func TestAnswersHaveBounds(t *testing.T) {
	long := strings.Repeat("ü\n", 5000)
	admitted, err := answer(&admissionv1.AdmissionRequest{UID: "u"}, Admit{Warnings: []string{long, long, long, long, long, "\xff"}, Audit: map[string]string{"k": long}})
	if err != nil {
		t.Fatal(err)
	}
	refused, err := answer(&admissionv1.AdmissionRequest{UID: "u"}, Refuse{Message: long})
	if err != nil {
		t.Fatal(err)
	}
	if len(admitted.Warnings) != maxWarnings {
		t.Errorf("%d warnings", len(admitted.Warnings))
	}
	for text, limit := range map[string]int{admitted.Warnings[0]: maxWarning, admitted.AuditAnnotations["k"]: maxAudit, refused.Result.Message: maxMessage} {
		if utf8.RuneCountInString(text) != limit || !strings.HasSuffix(text, "…") || strings.Contains(text, "\n") || !utf8.ValidString(text) {
			t.Errorf("%d characters, want %d, on one line: %q", utf8.RuneCountInString(text), limit, text[len(text)-20:])
		}
	}
	if got := shortened("a\xffb\tc", 10); got != "a\uFFFDb c" {
		t.Errorf("got %q", got)
	}
	invalid, _ := answer(&admissionv1.AdmissionRequest{}, Refuse{Message: "m", Invalid: true})
	if invalid.Result.Code != 422 || refused.Result.Code != 403 {
		t.Errorf("codes %d and %d", invalid.Result.Code, refused.Result.Code)
	}
}

func TestNoMoreReviewsAreTakenOnThanFit(t *testing.T) {
	config := testConfig(cached(t, makeClass()))
	config.Limits.InFlight = 2
	var inside atomic.Int32
	arrived, release := make(chan struct{}), make(chan struct{})
	config.Lookups.Classes = classesFunc(func(string) (*storagev1.StorageClass, error) {
		inside.Add(1)
		arrived <- struct{}{}
		<-release
		return makeClass(), nil
	})
	handler := Handler(config)
	body := marshal(t, reviewOf(kindClaim(), marshal(t, makeClaim()), nil))
	codes := make(chan int, 2)
	for range 2 {
		go func() { codes <- post(handler, PathMutateClaim, body).Code }()
		<-arrived
	}
	if w := post(handler, PathMutateClaim, body); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a third one: %d", w.Code)
	}
	close(release)
	for range 2 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("got %d", code)
		}
	}
	if inside.Load() != 2 {
		t.Errorf("%d were inside", inside.Load())
	}
}

// TestOverTheWire asks over HTTP, where the server has deadlines and connections that stay.
func TestOverTheWire(t *testing.T) {
	config := testConfig(cached(t, makeClass()))
	config.Lookups.Snapshots = nil
	config.Lookups.Sources = liveSources(func(ctx context.Context, _ datasource.Reference) (datasource.Facts, error) {
		<-ctx.Done()
		return datasource.Facts{}, ctx.Err()
	})
	server := httptest.NewServer(Handler(config))
	defer server.Close()
	body := marshal(t, reviewOf(kindClaim(), marshal(t, makeClaim(fromSnapshot)), nil))
	ask := func(timeout string) (int, string) {
		response, err := server.Client().Post(server.URL+PathValidateClaim+"?timeout="+timeout, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	for range 3 { // on one connection
		if code, text := ask("200ms"); code != 200 || !strings.Contains(text, "was not checked: it could not be read") {
			t.Errorf("got %d %s", code, text)
		}
	}
	reader, writer := io.Pipe()
	defer writer.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+PathMutateClaim+"?timeout=200ms", reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := server.Client().Do(r)
	if err == nil {
		defer response.Body.Close()
		if response.StatusCode != http.StatusBadRequest {
			t.Errorf("a body that never comes: %d", response.StatusCode)
		}
	}
}

// FuzzDecodeReview checks that whatever arrives is turned away with a client's error and a sentence, or is a whole request.
func FuzzDecodeReview(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("{}"))
	f.Add([]byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","object":null}}`))
	f.Add(marshal(f, reviewOf(kindClaim(), marshal(f, makeClaim()), nil)))
	f.Add(marshal(f, reviewOf(kindClaim(), marshal(f, makeClaim()), marshal(f, makeClaim()))))
	handler := Handler(testConfig(cached(f, makeClass())))
	f.Fuzz(func(t *testing.T, body []byte) {
		request, problem := decodeReview(body)
		w := post(handler, PathMutateClaim, body)
		if problem != nil {
			if request != nil || problem.status < 400 || problem.status > 499 || problem.why == "" || !utf8.ValidString(problem.why) || len(problem.why) > 1000 {
				t.Errorf("%q: %+v", body, problem)
			}
			if w.Code != problem.status {
				t.Errorf("%q: answered %d, want %d", body, w.Code, problem.status)
			}
			return
		}
		if request.UID == "" || request.Operation == "" {
			t.Errorf("%q: %+v", body, request)
		}
		checkedAnswer(t, PathMutateClaim, request.UID, w)
	})
}

// BenchmarkMutate is one review of an Immediate claim from bytes to bytes, in a cache of 50 classes and 10,000 capacity objects. Nodes cost
// nothing: none is looked at.
func BenchmarkMutate(b *testing.B) {
	for name, segments := range map[string]int{"200 segments a class": 200, "5000 segments in a class": 5000} {
		b.Run(name, func(b *testing.B) {
			objects := []any{}
			for i := range 50 {
				class := makeClass()
				class.Name = fmt.Sprintf("class-%d", i)
				objects = append(objects, class)
			}
			for i := range 10_000 {
				objects = append(objects, published(fmt.Sprintf("class-%d", i/segments), fmt.Sprintf("node-%05d", i%segments), int64(10+i%100)))
			}
			config := testConfig(cached(b, objects...))
			config.Metrics = prometheus.NewRegistry()
			handler := Handler(config)
			body := marshal(b, reviewOf(kindClaim(), marshal(b, makeClaim(ofClass("class-1"))), nil))
			b.ReportAllocs()
			for b.Loop() {
				if w := post(handler, PathMutateClaim, body); w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}
