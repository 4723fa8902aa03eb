package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/util/cert"

	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/serving"
)

// A large cluster. Each claim has its volume.
const (
	manyNodes      = 5_000
	manyClasses    = 50
	manyCapacities = 10_000
	manyClaims     = 20_000
)

// city is a large cluster as the process's caches hold it: trimmed, and the objects that reviews do not look at beside the others.
type city struct {
	handler http.Handler
	held    []any // what other caches hold
	heap    uint64
}

func makeCity(b *testing.B) *city {
	b.Helper()
	before := heapInUse()
	trim := kube.TrimForAdmission(testDriver, "")
	trimmed := func(object any) any {
		kept, err := trim(object)
		if err != nil {
			b.Fatal(err)
		}
		return kept
	}
	c := &city{}
	var objects []any
	for i := range manyNodes {
		c.held = append(c.held, trimmed(makeNode(i)))
	}
	for i := range manyClasses {
		class := makeClass()
		class.Name = fmt.Sprintf("class-%d", i)
		if i%5 == 4 {
			waitForFirstConsumer(class)
		}
		objects = append(objects, class)
	}
	const segments = manyCapacities / manyClasses
	for i := range manyCapacities {
		capacity := trimmed(published(fmt.Sprintf("class-%d", i/segments), fmt.Sprintf("node-%05d", i%segments), int64(10+i%100)))
		objects, c.held = append(objects, capacity), append(c.held, capacity)
	}
	for i := range manyClaims {
		name, uid := fmt.Sprintf("data-%d", i), types.UID(fmt.Sprintf("00000000-0000-0000-0000-%012d", i))
		class := ofClass(fmt.Sprintf("class-%d", i%manyClasses))
		claim := makeClaim(called(name), class, boundTo("pvc-"+string(uid)), annotated(keyGA, testDriver, keyBeta, testDriver,
			"pv.kubernetes.io/bind-completed", "yes", "pv.kubernetes.io/bound-by-controller", "yes"))
		claim.UID, claim.ManagedFields = uid, someManager()
		volume := makeVolume(claimedBy(name, uid), inPhase(corev1.VolumeBound), of(testDriver, zone(fmt.Sprintf("node-%05d", i%segments))))
		volume.Name, volume.Spec.StorageClassName, volume.ManagedFields = "pvc-"+string(uid), *claim.Spec.StorageClassName, someManager()
		objects = append(objects, trimmed(claim), trimmed(volume))
	}
	config := testConfig(cached(b, objects...))
	config.Metrics = prometheus.NewRegistry()
	c.handler = Handler(config)
	c.heap = heapInUse() - before
	return c
}

func makeNode(i int) *corev1.Node {
	name := fmt.Sprintf("node-%05d", i)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": name, "kubernetes.io/hostname": name}}}
	for image := range 30 {
		node.Status.Images = append(node.Status.Images, corev1.ContainerImage{Names: []string{fmt.Sprintf("example.org/image-%d", image)}})
	}
	return node
}

func someManager() []metav1.ManagedFieldsEntry {
	fields := `{"f:spec":{` + strings.Repeat(`"f:accessModes":{},`, 25) + `"f:volumeMode":{}}}`
	return []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1(fields)}}
}

// heapInUse is what is on the heap and needed.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // what the first one found in pools is free now
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// bodies are reviews of claims as they come: of any class, one in ten a clone.
func bodies(b *testing.B) [][]byte {
	b.Helper()
	all := make([][]byte, 100)
	for i := range all {
		changes := []claimChange{called(fmt.Sprintf("new-%d", i)), ofClass(fmt.Sprintf("class-%d", i%manyClasses))}
		if i%10 == 0 {
			changes = append(changes, func(claim *corev1.PersistentVolumeClaim) {
				claim.Spec.DataSourceRef = &corev1.TypedObjectReference{Kind: "PersistentVolumeClaim", Name: fmt.Sprintf("data-%d", i)}
			})
		}
		claim := makeClaim(changes...)
		claim.ManagedFields = someManager()
		all[i] = marshal(b, reviewOf(kindClaim(), marshal(b, claim), nil))
	}
	return all
}

// caller calls the webhooks as an API server does, over TLS, on connections that stay.
type caller struct {
	client *http.Client
	url    string
	roots  []byte
}

func newCaller(url string, roots []byte) *caller {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(roots)
	return &caller{url: url, roots: roots, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 100,
	}}}
}

// serve serves a handler with the server that ships, until the benchmark ends.
func serve(b *testing.B, handler http.Handler) *caller {
	b.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		b.Fatal(err)
	}
	content, err := dynamiccertificates.NewStaticCertKeyContent("benchmark", certificate, key)
	if err != nil {
		b.Fatal(err)
	}
	server, err := serving.New(serving.Config{Address: "127.0.0.1:0", Certificate: content, Handler: handler})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	for server.Check(nil) != nil {
		if len(ended) > 0 {
			b.Fatal(<-ended)
		}
		time.Sleep(time.Millisecond) // nothing tells when a server begins to serve
	}
	return newCaller("https://"+server.Address().String(), certificate)
}

// call has one review made.
func (c *caller) call(path string, body []byte) error {
	response, err := c.client.Post(c.url+path+"?timeout=2s", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return err
}

// paceEnv has the test binary be the callers of BenchmarkReviewsAtAPace: they are a process of their own, as API servers are, so that they
// neither wait for the server's garbage collector nor help it.
const paceEnv = "BERTH_BENCHMARK_PACE"

// paced is what callers are told, and what they found out.
type paced struct {
	URL     string
	Roots   []byte
	Bodies  [][]byte
	Reviews int
	Took    []time.Duration // in order of size
	Failed  string
}

// perSecond is how many reviews the callers make.
const perSecond = 500

// call makes reviews at the pace, whether the ones before are answered or not, and measures each from when it was due: what waits behind
// a slow one counts. Every claim is reviewed twice.
func (p *paced) call() {
	server := newCaller(p.URL, p.Roots)
	took, failures := make([]time.Duration, p.Reviews), make(chan error, p.Reviews)
	var running sync.WaitGroup
	start := time.Now()
	for i := range p.Reviews {
		due := start.Add(time.Duration(i) * time.Second / perSecond)
		time.Sleep(time.Until(due)) // the pace is what this is about
		running.Go(func() {
			if err := server.call([]string{PathMutateClaim, PathValidateClaim}[i%2], p.Bodies[i/2%len(p.Bodies)]); err != nil {
				failures <- err
			}
			took[i] = time.Since(due)
		})
	}
	running.Wait()
	slices.Sort(took)
	p.Took = took
	if len(failures) > 0 {
		p.Failed = fmt.Sprintf("%d of %d failed: %v", len(failures), p.Reviews, <-failures)
	}
}

// TestPacedCallers is the callers of BenchmarkReviewsAtAPace, if it starts them.
func TestPacedCallers(t *testing.T) {
	file := os.Getenv(paceEnv)
	if file == "" {
		t.Skip("only for BenchmarkReviewsAtAPace")
	}
	var p paced
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.call()
	if err := os.WriteFile(file, marshal(t, p), 0o600); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkReviewsAtAPace has 500 reviews made a second, which is 250 claims. Use -benchtime 5s or more.
func BenchmarkReviewsAtAPace(b *testing.B) {
	c := makeCity(b)
	server := serve(b, c.handler)
	p := paced{URL: server.url, Roots: server.roots, Bodies: bodies(b), Reviews: b.N}
	file := filepath.Join(b.TempDir(), "paced.json")
	if err := os.WriteFile(file, marshal(b, p), 0o600); err != nil {
		b.Fatal(err)
	}
	callers := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestPacedCallers$") //nolint:gosec // ourselves
	callers.Env = append(os.Environ(), paceEnv+"="+file)
	before := cpuUsed(b)
	b.ResetTimer()
	if output, err := callers.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, output)
	}
	b.StopTimer()
	used := cpuUsed(b) - before
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil || p.Failed != "" || len(p.Took) != b.N {
		b.Fatal(err, p.Failed, len(p.Took))
	}
	b.ReportMetric(p.Took[b.N/2].Seconds(), "p50_seconds")
	b.ReportMetric(p.Took[b.N*99/100].Seconds(), "p99_seconds")
	b.ReportMetric(p.Took[b.N-1].Seconds(), "max_seconds")
	b.ReportMetric(float64(c.heap), "heap_bytes")
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu_seconds/review")
	runtime.KeepAlive(c)
}

// cpuUsed is the processor time of this process so far. Unlike the clock it does not depend on what else the machine does.
func cpuUsed(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkReviewsOfOneCore is how many reviews a second of one processor's time is enough for: from bytes to bytes, and over TLS together
// with whoever asks, which costs more than the answers.
func BenchmarkReviewsOfOneCore(b *testing.B) {
	c := makeCity(b)
	server, reviews := serve(b, c.handler), bodies(b)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, review := range map[string]func(path string, body []byte) error{
		"bytes to bytes": func(path string, body []byte) error {
			if w := post(c.handler, path, body); w.Code != http.StatusOK {
				return fmt.Errorf("%d: %s", w.Code, w.Body)
			}
			return nil
		},
		"over TLS, with its client": server.call,
	} {
		for _, path := range []string{PathMutateClaim, PathValidateClaim} {
			b.Run(name+path, func(b *testing.B) {
				b.ReportAllocs()
				before := cpuUsed(b)
				for i := 0; b.Loop(); i++ {
					if err := review(path, reviews[i%len(reviews)]); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/(cpuUsed(b)-before).Seconds(), "reviews/cpu_second")
			})
		}
	}
	runtime.KeepAlive(c)
}
