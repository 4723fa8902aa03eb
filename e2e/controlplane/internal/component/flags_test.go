package component

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOverrides(t *testing.T) {
	cases := map[string]struct {
		gates, sets []string
		want        Overrides
		wantErr     string
	}{
		"nothing given": {want: Overrides{}},
		"gates of one component become its feature-gates flag, sorted": {
			gates: []string{"kube-scheduler:B=false,A=true"},
			want:  Overrides{Scheduler: {"feature-gates": "A=true,B=false"}},
		},
		"gates for all reach the Kubernetes components and not etcd": {
			gates: []string{"all:A=true"},
			want: Overrides{
				APIServer:         {"feature-gates": "A=true"},
				ControllerManager: {"feature-gates": "A=true"},
				Scheduler:         {"feature-gates": "A=true"},
				Kubelet:           {"feature-gates": "A=true"},
			},
		},
		"a component's own gate wins over one for all, in either order": {
			gates: []string{"kube-apiserver:A=false", "all:A=true,B=true"},
			want: Overrides{
				APIServer:         {"feature-gates": "A=false,B=true"},
				ControllerManager: {"feature-gates": "A=true,B=true"},
				Scheduler:         {"feature-gates": "A=true,B=true"},
				Kubelet:           {"feature-gates": "A=true,B=true"},
			},
		},
		"etcd has gates of its own": {
			gates: []string{"etcd:InitialCorruptCheck=true"},
			want:  Overrides{Etcd: {"feature-gates": "InitialCorruptCheck=true"}},
		},
		"a flag's value may contain colons and equal signs": {
			sets: []string{"kube-apiserver:--event-ttl=1m", "etcd:initial-cluster=a=https://127.0.0.1:1"},
			want: Overrides{
				APIServer: {"event-ttl": "1m"},
				Etcd:      {"initial-cluster": "a=https://127.0.0.1:1"},
			},
		},
		"setting the feature-gates flag replaces the gates": {
			gates: []string{"kube-scheduler:A=true"},
			sets:  []string{"kube-scheduler:feature-gates=C=true"},
			want:  Overrides{Scheduler: {"feature-gates": "C=true"}},
		},
		"the later of two values wins": {
			sets: []string{"etcd:log-level=info", "etcd:log-level=debug"},
			want: Overrides{Etcd: {"log-level": "debug"}},
		},
		"an empty value is a value": {
			sets: []string{"kube-apiserver:audit-log-path="},
			want: Overrides{APIServer: {"audit-log-path": ""}},
		},
		"unknown component in a gate": {
			gates:   []string{"kube-proxy:A=true"},
			wantErr: `unknown component "kube-proxy", known are etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd, kubelet`,
		},
		"unknown component in a flag": {
			sets:    []string{"all:v=4"},
			wantErr: `unknown component "all", known are etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd, kubelet`,
		},
		"gate without component": {gates: []string{"A=true"}, wantErr: `"A=true" is not COMPONENT:GATE=BOOL[,GATE=BOOL]`},
		"gate without value":     {gates: []string{"etcd:A"}, wantErr: `feature gates "etcd:A": "A" is not GATE=BOOL`},
		"gate that is no bool":   {gates: []string{"etcd:A=maybe"}, wantErr: `feature gates "etcd:A=maybe": "maybe" is neither true nor false`},
		"flag without component": {sets: []string{"v=4"}, wantErr: `"v=4" is not COMPONENT:FLAG=VALUE`},
		"flag without value":     {sets: []string{"etcd:v"}, wantErr: `"v" is not FLAG=VALUE`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOverrides(c.gates, c.sets)
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr {
					t.Fatalf("error %v, want %s", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("overrides (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFlagsAreMergedWithoutChangingEither(t *testing.T) {
	stock := Flags{"a": "1", "b": "2"}
	merged := stock.With(Flags{"b": "3", "c": "4"}).Without("a")
	if diff := cmp.Diff([]string{"--b=3", "--c=4"}, merged.Args()); diff != "" {
		t.Errorf("merged (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"--a=1", "--b=2"}, stock.Args()); diff != "" {
		t.Errorf("stock (-want +got):\n%s", diff)
	}
}
