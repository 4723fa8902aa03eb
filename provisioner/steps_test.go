package provisioner

import (
	"strings"
	"testing"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-csi/berth/internal/tracing"
)

func TestATraceOfAClaimTellsItsSteps(t *testing.T) {
	w := makeWorld(t, makeSecret(testPassword))
	w.withSecretiveClass()
	spans := tracetest.NewInMemoryExporter()
	w.c.config.Tracer = tracing.With(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)))
	w.c.traceClaim(t.Context(), keyOf(makeClaim()))

	recorded := spans.GetSpans()
	names := map[string]string{}
	for _, span := range recorded {
		names[span.SpanContext.SpanID().String()] = span.Name
	}
	var got []string
	for _, span := range recorded {
		line := span.Name
		if span.Parent.IsValid() {
			line = names[span.Parent.SpanID().String()] + " > " + line
		}
		for _, attribute := range span.Attributes {
			line += " " + string(attribute.Key) + "=" + attribute.Value.AsString()
		}
		got = append(got, line)
	}
	want := []string{
		"claim > decide berth.action=provisioner.Create",
		"claim > secrets",
		"claim > create_volume",
		"claim > decide berth.action=provisioner.Store",
		"claim > store",
		"claim k8s.namespace.name=ns k8s.persistentvolumeclaim.name=data k8s.persistentvolumeclaim.uid=" + string(testUID) + " berth.next=again after 1m1s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// observed are how many observations the histograms of a name have, by the value of a label, and their sum.
func observed(t *testing.T, c *Controller, name, label string) (counts map[string]uint64, sum float64) {
	t.Helper()
	gatherer, ok := c.config.Registry.(prometheus.Gatherer)
	if !ok {
		t.Fatalf("the registry is a %T", c.config.Registry)
	}
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts = map[string]uint64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			counts[labelOf(metric, label)] += metric.GetHistogram().GetSampleCount()
			sum += metric.GetHistogram().GetSampleSum()
		}
	}
	return counts, sum
}

func labelOf(metric *dto.Metric, name string) string {
	for _, pair := range metric.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

func TestTheTimeOfAClaimAndItsStepsIsMeasured(t *testing.T) {
	inBubble(t, nil, func(w *world) {
		w.driver.answer = func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
			time.Sleep(3 * time.Second)
			return asAsked(request), nil
		}
	}, func(w *world) {
		w.add(makeClaim(func(c *corev1.PersistentVolumeClaim) {
			c.CreationTimestamp = metav1.NewTime(time.Now().Add(-4 * time.Second))
		}))
		pass(time.Minute)
		steps, sum := observed(t, w.c, "berth_provision_step_duration_seconds", "step")
		if diff := cmp.Diff(map[string]uint64{"secrets": 0, "protect": 0, "record": 0, "create_volume": 1, "store": 1}, steps); diff != "" || sum != 3 {
			t.Errorf("steps took %v s: %s", sum, diff)
		}
		claims, sum := observed(t, w.c, "berth_claim_provisioning_duration_seconds", "class")
		if diff := cmp.Diff(map[string]uint64{"fast": 1}, claims); diff != "" || sum != 7 {
			t.Errorf("the claim took %v s: %s", sum, diff)
		}
	})
}

func TestADriverThatHangsIsNoReasonToRestart(t *testing.T) {
	released := make(chan struct{})
	inBubble(t, nil, func(w *world) {
		released = make(chan struct{}) // of this bubble
		w.driver.answer = func(_ int, request *csipb.CreateVolumeRequest) (*csipb.Volume, error) {
			<-released // as while a call waits for its turn, which has no limit
			return asAsked(request), nil
		}
	}, func(w *world) {
		w.add(makeClaim())
		pass(24 * time.Hour)
		if creates, _ := w.driver.calls(); creates != 1 {
			t.Fatalf("%d calls", creates)
		}
		if err := w.c.Stuck(); err != nil {
			t.Error(err)
		}
		close(released)
		pass(time.Second)
	})
}

func TestWorkThatHangsHereIsNamed(t *testing.T) {
	released := make(chan struct{})
	inBubble(t, nil, func(w *world) {
		released = make(chan struct{})
		w.core.PrependReactor("create", "persistentvolumes", func(clienttesting.Action) (bool, runtime.Object, error) {
			<-released // whatever the call's limit
			return false, nil, nil
		})
	}, func(w *world) {
		w.add(makeClaim())
		pass(workLimit(w.c.config.CallTimeout) - time.Second)
		if err := w.c.Stuck(); err != nil {
			t.Errorf("too early: %v", err)
		}
		pass(2 * time.Second)
		if err := w.c.Stuck(); err == nil || !strings.Contains(err.Error(), "queue claims") || !strings.Contains(err.Error(), "ns/data") {
			t.Errorf("got %v, want an error that names the claim", err)
		}
		close(released)
		pass(time.Second)
	})
}
