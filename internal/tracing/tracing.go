// Package tracing follows one piece of work through this process and beyond it: spans of OpenTelemetry, which a collector receives.
//
// A nil *Tracer is tracing that is off. All of its methods work, and cost nothing: no allocation, no clock.
//
// It imports nothing of this project. Everything here is safe for concurrent use.
package tracing

import (
	"context"
	"fmt"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"k8s.io/component-base/tracing"
	tracingapi "k8s.io/component-base/tracing/api/v1"
)

// scope names who makes the spans.
const scope = "github.com/berth-csi/berth"

// Tracer makes spans.
type Tracer struct {
	provider tracing.TracerProvider
	tracer   oteltrace.Tracer
}

// Process is who traces.
type Process struct{ Service, Version, Instance string }

// New makes a Tracer that sends to a collector, as the configuration says. Nothing is connected to yet.
func New(ctx context.Context, config *tracingapi.TracingConfiguration, of Process) (*Tracer, error) {
	provider, err := tracing.NewProvider(ctx, config, nil, []resource.Option{resource.WithAttributes(
		attribute.String("service.name", of.Service), attribute.String("service.version", of.Version),
		attribute.String("service.instance.id", of.Instance),
	)})
	if err != nil {
		return nil, fmt.Errorf("set up tracing: %w", err)
	}
	return With(provider), nil
}

// With makes a Tracer of a provider that somebody else has set up.
func With(provider tracing.TracerProvider) *Tracer {
	return &Tracer{provider: provider, tracer: provider.Tracer(scope)}
}

// Start begins a span below the one of ctx, if it has one. The caller ends it.
func (t *Tracer) Start(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, Span{span}
}

// Shutdown sends what was not sent yet, for as long as ctx lets it.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last traces: %w", err)
	}
	return nil
}

// Handler has each request be a span. It joins the trace of its caller, if the request names one (W3C Trace Context).
func (t *Tracer) Handler(handler http.Handler, name string) http.Handler {
	if t == nil {
		return handler
	}
	return tracing.WithTracing(handler, t.provider, name)
}

// DialOptions have each gRPC call be a span, which the server is told of.
func (t *Tracer) DialOptions() []grpc.DialOption {
	if t == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(
		otelgrpc.WithTracerProvider(t.provider), otelgrpc.WithPropagators(tracing.Propagators())))}
}

// Transport has requests that are part of a trace be spans, which the server is told of. Others, like watches and the renewal of a Lease, would
// be traces of their own that nobody looks for.
func (t *Tracer) Transport(plain http.RoundTripper) http.RoundTripper {
	if t == nil {
		return plain
	}
	return transport{plain: plain, traced: tracing.WrapperFor(t.provider)(plain)}
}

type transport struct{ plain, traced http.RoundTripper }

// RoundTrip is of http.RoundTripper.
func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if oteltrace.SpanContextFromContext(request.Context()).IsValid() {
		return t.traced.RoundTrip(request)
	}
	return t.plain.RoundTrip(request)
}

// WrappedRoundTripper lets client-go find what it looks for below.
func (t transport) WrappedRoundTripper() http.RoundTripper { return t.plain }

// Span is a part of a trace. The zero Span is none: its methods do nothing.
type Span struct{ span oteltrace.Span }

// Recording reports whether anybody will see it. Ask before working out what to Set.
func (s Span) Recording() bool { return s.span != nil && s.span.IsRecording() }

// Set says something about what the span is of.
func (s Span) Set(key, value string) {
	if s.Recording() {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// End ends the span, and says that it failed unless err is nil.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}
