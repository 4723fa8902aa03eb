package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/berth-csi/berth/e2e/harness"
)

const demoConfig = "../driver/demo.yaml"

func TestManifestsFitTheDriverAndTheStory(t *testing.T) {
	text, zones, err := readDriverConfig(demoConfig)
	if err != nil {
		t.Fatal(err)
	}
	var config harness.DriverConfig
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}

	classes := map[string]storagev1.VolumeBindingMode{}
	for _, object := range read(t, classesManifest) {
		class, ok := object.(*storagev1.StorageClass)
		if !ok {
			t.Fatalf("%s has a %T", classesManifest, object)
		}
		if class.Provisioner != config.DriverName {
			t.Errorf("class %s is of %s, the driver is %s", class.Name, class.Provisioner, config.DriverName)
		}
		classes[class.Name] = *class.VolumeBindingMode
	}

	objects := append(read(t, claimManifest), read(t, podManifest)...)
	if len(objects) != 3 {
		t.Fatalf("there are %d objects, want two claims and a Pod", len(objects))
	}
	wantClaim(t, objects[0], immediateClaim, classes, storagev1.VolumeBindingImmediate)
	wantClaim(t, objects[1], delayedClaim, classes, storagev1.VolumeBindingWaitForFirstConsumer)
	pod, ok := objects[2].(*corev1.Pod)
	if !ok || pod.Name != podName || pod.Namespace != namespace {
		t.Fatalf("the last object is %v, want Pod %s/%s", objects[2], namespace, podName)
	}
	if got := pod.Spec.Volumes[0].PersistentVolumeClaim.ClaimName; got != delayedClaim {
		t.Errorf("the Pod uses claim %s, want %s", got, delayedClaim)
	}
	if zone := pod.Spec.NodeSelector[harness.ZoneKey(config.DriverName)]; zone == "" || !strings.Contains(strings.Join(zones, " "), zone) {
		t.Errorf("the Pod wants zone %q, the driver has %v", zone, zones)
	}
}

func read(t *testing.T, name string) []runtime.Object {
	t.Helper()
	objects, err := readManifest(name)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func wantClaim(t *testing.T, object runtime.Object, name string, classes map[string]storagev1.VolumeBindingMode, mode storagev1.VolumeBindingMode) {
	t.Helper()
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok || claim.Name != name || claim.Namespace != namespace {
		t.Fatalf("object is %v, want claim %s/%s", object, namespace, name)
	}
	if got := classes[*claim.Spec.StorageClassName]; got != mode {
		t.Errorf("claim %s has binding mode %q, want %s", name, got, mode)
	}
}

func TestStepsLineUpWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out}
	for _, subject := range []string{"nodes", "control plane"} {
		err := s.stepSince(t.Context(), time.Now().Add(-90*time.Second), subject, func(context.Context) (string, error) {
			return "three of them → up", nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(out.String(), "\n")
	if got, want := strings.Index(lines[0], "three"), strings.Index(lines[1], "three"); got != want {
		t.Errorf("columns differ:\n%s", out.String())
	}
	if want := "      90 s"; !strings.HasSuffix(lines[0], want) {
		t.Errorf("line %q does not end with %q", lines[0], want)
	}
	if strings.ContainsAny(out.String(), "\r\x1b") {
		t.Errorf("control characters in %q", out.String())
	}
}

func TestFailedStepNamesItselfAndItsReason(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, colour: true}
	reason := errors.New("no room")
	err := s.step(t.Context(), "driver", func(context.Context) (string, error) { return "", reason })
	if !errors.Is(err, reason) || !strings.Contains(err.Error(), "driver") {
		t.Errorf("error is %v", err)
	}
	if !strings.Contains(out.String(), "✗") {
		t.Errorf("no mark in %q", out.String())
	}
}

func TestDurationsHaveOneWidth(t *testing.T) {
	for d, want := range map[time.Duration]string{
		12 * time.Microsecond:   "  < 1 ms",
		34 * time.Millisecond:   "   34 ms",
		1020 * time.Millisecond: "  1.02 s",
		95 * time.Second:        "    95 s",
	} {
		if got := duration(d); got != want {
			t.Errorf("%s is written %q, want %q", d, got, want)
		}
	}
}
