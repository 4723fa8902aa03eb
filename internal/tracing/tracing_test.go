package tracing

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	tracingapi "k8s.io/component-base/tracing/api/v1"
)

// recording is a Tracer that keeps its spans in memory.
func recording(t *testing.T) (*Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	tracer := With(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)))
	return tracer, spans
}

func TestParse(t *testing.T) {
	endpoint, rate := "collector:4317", int32(1000)
	tests := map[string]struct {
		file string
		want *tracingapi.TracingConfiguration
		err  string
	}{
		"empty: the collector beside it, parents decide": {"", &tracingapi.TracingConfiguration{}, ""},
		"as the API server's": {
			"apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: collector:4317\nsamplingRatePerMillion: 1000\n",
			&tracingapi.TracingConfiguration{Endpoint: &endpoint, SamplingRatePerMillion: &rate}, "",
		},
		"a field that nobody knows": {"endpiont: x", nil, `unknown field "endpiont"`},
		"of another kind":           {"kind: Deployment", nil, "it is of kind Deployment"},
		"a rate beyond all":         {"samplingRatePerMillion: 1000001", nil, "less than or equal to one million"},
		"a URL":                     {"endpoint: https://collector", nil, "unsupported scheme"},
		"not YAML":                  {"{", nil, "not a TracingConfiguration"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parse([]byte(tt.file))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadConfigNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tracing.yaml")
	if _, err := ReadConfig(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(path, []byte("kind: X"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig(path); err == nil || !strings.HasPrefix(err.Error(), path) {
		t.Errorf("got %v, want an error that begins with %s", err, path)
	}
}

func TestTracingThatIsOffCostsNothing(t *testing.T) {
	var off *Tracer
	ctx, failure := t.Context(), errors.New("no")
	if got := testing.AllocsPerRun(100, func() {
		below, span := off.Start(ctx, "claim")
		span.Set("key", "value")
		if span.Recording() || below != ctx {
			t.Error("something is recorded")
		}
		span.End(failure)
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
	handler := http.NewServeMux()
	if off.Handler(handler, "admission") != http.Handler(handler) || off.Transport(http.DefaultTransport) != http.DefaultTransport || off.DialOptions() != nil {
		t.Error("something is wrapped")
	}
	if err := off.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestAnAdmissionRequestJoinsItsCallersTrace(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	tracer, spans := recording(t)
	var below Span
	handler := tracer.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, below = tracer.Start(r.Context(), "below")
		below.End(nil)
	}), "admission")
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mutate", nil)
	request.Header.Set("traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
	handler.ServeHTTP(httptest.NewRecorder(), request)
	for _, span := range spans.GetSpans() {
		if got := span.SpanContext.TraceID().String(); got != trace {
			t.Errorf("span %s is of trace %s", span.Name, got)
		}
	}
	if got := len(spans.GetSpans()); got != 2 {
		t.Errorf("%d spans, want the request and what is below", got)
	}
}

func TestOnlyRequestsThatArePartOfATraceAreTraced(t *testing.T) {
	tracer, spans := recording(t)
	var parents []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		parents = append(parents, r.Header.Get("traceparent"))
	}))
	defer server.Close()
	client := &http.Client{Transport: tracer.Transport(http.DefaultTransport)}
	ctx, span := tracer.Start(t.Context(), "claim")
	for _, ctx := range []context.Context{t.Context(), ctx} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	span.End(errors.New("no"))
	if parents[0] != "" || parents[1] == "" {
		t.Errorf("servers were told of %q, want only the second request's", parents)
	}
	recorded := spans.GetSpans()
	if len(recorded) != 2 || recorded[1].Name != "claim" || recorded[1].Status.Description != "no" {
		t.Errorf("spans are %v, want one request below a claim that failed", recorded)
	}
}

type probed struct {
	csipb.UnimplementedIdentityServer
	parent chan []string
}

func (p probed) Probe(ctx context.Context, _ *csipb.ProbeRequest) (*csipb.ProbeResponse, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	p.parent <- headers.Get("traceparent")
	return &csipb.ProbeResponse{}, nil
}

func TestTheDriverIsToldOfTheTrace(t *testing.T) {
	tracer, spans := recording(t)
	path := filepath.Join(t.TempDir(), "csi.sock")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	driver := probed{parent: make(chan []string, 1)}
	server := grpc.NewServer()
	csipb.RegisterIdentityServer(server, driver)
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	defer server.Stop()
	conn, err := grpc.NewClient("unix://"+path, append(tracer.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, span := tracer.Start(t.Context(), "create_volume")
	if _, err := csipb.NewIdentityClient(conn).Probe(ctx, &csipb.ProbeRequest{}); err != nil {
		t.Fatal(err)
	}
	span.End(nil)
	trace := spans.GetSpans()[0].SpanContext.TraceID().String()
	if parent := <-driver.parent; len(parent) != 1 || !strings.Contains(parent[0], trace) {
		t.Errorf("the driver was told %q, want trace %s", parent, trace)
	}
}
