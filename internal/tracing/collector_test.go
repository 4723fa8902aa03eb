package tracing

import (
	"context"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	tracingapi "k8s.io/component-base/tracing/api/v1"
)

// collector keeps what it is sent.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer

	received chan *collectorpb.ExportTraceServiceRequest
}

func (c collector) Export(_ context.Context, request *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	c.received <- request
	return &collectorpb.ExportTraceServiceResponse{}, nil
}

func TestSpansAreSentBeforeTheProcessEnds(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	here := collector{received: make(chan *collectorpb.ExportTraceServiceRequest, 1)}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, here)
	go server.Serve(listener) //nolint:errcheck // ends with Stop
	defer server.Stop()

	endpoint, all := listener.Addr().String(), int32(1_000_000)
	tracer, err := New(t.Context(), &tracingapi.TracingConfiguration{Endpoint: &endpoint, SamplingRatePerMillion: &all}, Process{"berth", "v1", "pod-1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, claim := tracer.Start(t.Context(), "claim")
	_, store := tracer.Start(ctx, "store")
	store.End(nil)
	claim.End(nil)
	if err := tracer.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, sent := range (<-here.received).GetResourceSpans() {
		for _, attribute := range sent.GetResource().GetAttributes() {
			got[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		}
		for _, scope := range sent.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				got[span.GetName()] = scope.GetScope().GetName()
			}
		}
	}
	want := map[string]string{"service.name": "berth", "service.version": "v1", "service.instance.id": "pod-1", "claim": scope, "store": scope}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
