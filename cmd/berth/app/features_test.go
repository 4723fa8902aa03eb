package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/featuregate"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
)

// gates are options whose --feature-gates was given once for each argument.
func gates(t *testing.T, typed ...string) (*Options, error) {
	t.Helper()
	o, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range typed {
		if err := (gatesValue{&o.Features}).Set(value); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func TestFeatureGates(t *testing.T) {
	byDefault := map[featuregate.Feature]bool{"Topology": true, "VolumeAttributesClass": true, "CrossNamespaceVolumeDataSource": false}
	tests := map[string]struct {
		typed []string
		want  map[featuregate.Feature]bool // what differs from the default
		err   string
	}{
		"none":                        {nil, nil, ""},
		"nothing in it":               {[]string{""}, nil, ""},
		"one on":                      {[]string{"CrossNamespaceVolumeDataSource=true"}, map[featuregate.Feature]bool{"CrossNamespaceVolumeDataSource": true}, ""},
		"several":                     {[]string{"Topology=false,VolumeAttributesClass=false"}, map[featuregate.Feature]bool{"Topology": false, "VolumeAttributesClass": false}, ""},
		"several times":               {[]string{"Topology=false", "VolumeAttributesClass=false"}, map[featuregate.Feature]bool{"Topology": false, "VolumeAttributesClass": false}, ""},
		"the last one wins":           {[]string{"Topology=false", "Topology=true"}, nil, ""},
		"every alpha gate":            {[]string{"AllAlpha=true"}, map[featuregate.Feature]bool{"CrossNamespaceVolumeDataSource": true}, ""},
		"gates of the past":           {[]string{"HonorPVReclaimPolicy=true,ReleaseLeaderElectionOnExit=false"}, nil, ""},
		"one of the past, one of now": {[]string{"HonorPVReclaimPolicy=false,Topology=false"}, map[featuregate.Feature]bool{"Topology": false}, ""},
		"a gate nobody knows": {[]string{"Toplogy=false"}, nil,
			`there is no feature gate "Toplogy": the gates are CrossNamespaceVolumeDataSource, Topology, VolumeAttributesClass`},
		"a library's gate":   {[]string{"WatchListClient=false"}, nil, `there is no feature gate "WatchListClient": `},
		"neither on nor off": {[]string{"Topology=maybe"}, nil, "invalid value of Topology: maybe"},
		"without a value":    {[]string{"Topology"}, nil, "malformed pair"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := gates(t, tt.typed...)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for gate, on := range byDefault {
				if want, differs := tt.want[gate]; differs {
					on = want
				}
				if got := o.Features.enabled(gate); got != on {
					t.Errorf("%s is %v", gate, got)
				}
			}
		})
	}
}

func TestAGateThatWasTypedIsTheUsersWish(t *testing.T) {
	o, err := gates(t, "Topology=true,HonorPVReclaimPolicy=true")
	if err != nil {
		t.Fatal(err)
	}
	if !o.Features.explicit(gateTopology) || o.Features.explicit(gateAttributes) {
		t.Error("what was typed and what was not are taken for each other")
	}
}

func TestGatesOfThePastAreNamedOnce(t *testing.T) {
	var log bytes.Buffer
	defer klog.CaptureState().Restore()                          //nolint:logcheck // the notice has no context
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(&log, nil))) //nolint:logcheck // the notice has no context
	o, err := gates(t, "ReleaseLeaderElectionOnExit=true,HonorPVReclaimPolicy=false,Topology=true", "HonorPVReclaimPolicy=false")
	if err != nil {
		t.Fatal(err)
	}
	log.Reset() // what the library says
	o.Features.notice()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "gate=HonorPVReclaimPolicy typed=false") || !strings.Contains(lines[1], "gate=ReleaseLeaderElectionOnExit typed=true") {
		t.Errorf("got %q", lines)
	}
}

func TestEveryGateIsInTheHelpAndNoOther(t *testing.T) {
	code, stdout, _ := berth(t, "--help")
	for _, name := range []string{"Features flags:", "--feature-gates", "CrossNamespaceVolumeDataSource", "Topology", "VolumeAttributesClass"} {
		if !strings.Contains(stdout, name) {
			t.Errorf("no %s", name)
		}
	}
	for _, name := range []string{"HonorPVReclaimPolicy", "AllAlpha", "WatchListClient", "ContextualLogging"} {
		if strings.Contains(stdout, name) {
			t.Errorf("%s is offered", name)
		}
	}
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAWrongGateIsOneLine(t *testing.T) {
	code, stdout, stderr := berth(t, "--feature-gates", "Toplogy=true")
	if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, `there is no feature gate "Toplogy"`) {
		t.Errorf("got %d, %q, %q", code, stdout, stderr)
	}
}

func TestWhatGatesTurnOn(t *testing.T) {
	type on struct{ Topology, Attributes, CrossNamespace, Grants bool }
	tests := map[string]struct {
		typed    []string
		driver   csi.Driver
		served   bool // the API server has volume attributes classes
		expected on
	}{
		"all that is on by default":                 {nil, csi.Driver{Topology: true}, true, on{Topology: true, Attributes: true}},
		"a driver without topology":                 {nil, csi.Driver{}, true, on{Attributes: true}},
		"a driver with topology, the gate is off":   {[]string{"Topology=false"}, csi.Driver{Topology: true}, true, on{Attributes: true}},
		"a driver without topology, the gate is on": {[]string{"Topology=true"}, csi.Driver{}, true, on{Attributes: true}},
		"an API server without attributes classes":  {nil, csi.Driver{}, false, on{}},
		"the same, and the gate says otherwise":     {[]string{"VolumeAttributesClass=true"}, csi.Driver{}, false, on{Attributes: true}},
		"the gate is off":                           {[]string{"VolumeAttributesClass=false"}, csi.Driver{}, true, on{}},
		"sources in other namespaces":               {[]string{"CrossNamespaceVolumeDataSource=true"}, csi.Driver{}, true, on{Attributes: true, CrossNamespace: true, Grants: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := gates(t, tt.typed...)
			if err != nil {
				t.Fatal(err)
			}
			optional, err := newOptionalClients(&rest.Config{Host: "http://localhost"})
			if err != nil {
				t.Fatal(err)
			}
			config := newProvisioner(o, nil, optional, nil)(tt.driver, csi.Node{}, tt.served)
			s := config.Settings
			got := on{s.Driver.Topology, s.AttributesClasses, s.CrossNamespace, config.Grants != nil}
			if diff := cmp.Diff(tt.expected, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheGatesThatWereTypedAreShown(t *testing.T) {
	for typed, want := range map[string]string{"": "", "Topology=false,HonorPVReclaimPolicy=true": "Topology=false",
		"VolumeAttributesClass=true,CrossNamespaceVolumeDataSource=true": "CrossNamespaceVolumeDataSource=true,VolumeAttributesClass=true"} {
		o, err := gates(t, typed)
		if err != nil {
			t.Fatal(err)
		}
		if got := (gatesValue{&o.Features}).String(); got != want {
			t.Errorf("%q is shown as %q, want %q", typed, got, want)
		}
	}
	if got := (gatesValue{}).String(); got != "" {
		t.Errorf("got %q of none", got)
	}
}
