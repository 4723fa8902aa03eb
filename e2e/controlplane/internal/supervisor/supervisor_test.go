package supervisor

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/controlplane/crds"
	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
)

func TestLimitsBecomeFlagsOnlyIfTheyAreSet(t *testing.T) {
	cases := map[string]struct {
		limits limits
		want   component.Flags
	}{
		"stock":         {limits{}, component.Flags{}},
		"both":          {limits{qps: 1000, burst: 2000}, component.Flags{"kube-api-qps": "1000", "kube-api-burst": "2000"}},
		"a fraction":    {limits{qps: 0.5}, component.Flags{"kube-api-qps": "0.5"}},
		"without limit": {limits{qps: -1}, component.Flags{"kube-api-qps": "-1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.limits.flags()); diff != "" {
				t.Errorf("flags (-want +got):\n%s", diff)
			}
			flags := flagsFor(component.ControllerManager, facts{limits: c.limits})
			if flags["kube-api-qps"] != c.want["kube-api-qps"] {
				t.Errorf("the controller-manager gets %q", flags["kube-api-qps"])
			}
		})
	}
}

func TestEveryComponentStaysOnLoopbackAndSharesItsPort(t *testing.T) {
	f := facts{dir: "/dir", ports: ports{etcd: 1, etcdPeer: 2, apiServer: 3, controllerManager: 4, scheduler: 5}}
	for _, name := range []component.Name{component.APIServer, component.ControllerManager, component.Scheduler} {
		flags := flagsFor(name, f)
		if flags["bind-address"] != "127.0.0.1" || flags["permit-port-sharing"] != "true" || flags["secure-port"] == "" {
			t.Errorf("%s: %v", name, flags)
		}
	}
	etcd := flagsFor(component.Etcd, f)
	for _, flag := range []string{"listen-client-urls", "listen-peer-urls"} {
		if !strings.HasPrefix(etcd[flag], "https://127.0.0.1:") || etcd["socket-reuse-port"] != "true" {
			t.Errorf("etcd: %s is %s", flag, etcd[flag])
		}
	}
}

func TestTheAuditLogIsOptional(t *testing.T) {
	for _, audit := range []bool{false, true} {
		_, configured := flagsFor(component.APIServer, facts{audit: audit})["audit-log-path"]
		if configured != audit {
			t.Errorf("audit %t: configured %t", audit, configured)
		}
	}
}

func TestCreatesServiceAccounts(t *testing.T) {
	for list, want := range map[string]bool{
		strings.Join(DefaultControllers(), ","): true,
		"*":                                     true,
		"*,-serviceaccount-controller":          false,
		"-serviceaccount,*":                     false,
		"serviceaccount":                        true,
		"persistentvolume-binder-controller":    false,
		"":                                      false,
	} {
		if got := createsServiceAccounts(list); got != want {
			t.Errorf("%q: got %t", list, got)
		}
	}
}

func TestParseStat(t *testing.T) {
	stat := "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 300 18446744073709551615 1 1 0"
	got, err := parseStat(stat)
	if err != nil {
		t.Fatal(err)
	}
	want := usage{cpu: 3 * time.Second, resident: 300 * int64(os.Getpagesize())}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, wrong := range []string{"", "42 a", "42 (a) S 1 2", strings.Replace(stat, "250", "x", 1)} {
		if _, err := parseStat(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

func TestUsageOfAProcess(t *testing.T) {
	if u := readUsage(os.Getpid()); u.resident == 0 {
		t.Error("this process uses no memory")
	}
	if u := readUsage(1 << 30); u != (usage{}) {
		t.Errorf("a process that does not exist uses %+v", u)
	}
}

func TestLastLines(t *testing.T) {
	cases := map[string]struct{ content, want string }{
		"empty":          {"", "    "},
		"few lines":      {"a\nb\n", "    a\n    b"},
		"many lines":     {strings.Repeat("old\n", 5) + strings.Repeat("new\n", tailLines), strings.TrimSuffix(strings.Repeat("    new\n", tailLines), "\n")},
		"very long line": {strings.Repeat("x", lineRunes+1), "    " + strings.Repeat("x", lineRunes) + "..."},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lastLines(c.content)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefinitionsAreThoseOfTheSnapshotAPI(t *testing.T) {
	definitions, err := crds.All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, definition := range definitions {
		names = append(names, definition.Name)
	}
	want := []string{
		"volumesnapshotclasses.snapshot.storage.k8s.io",
		"volumesnapshotcontents.snapshot.storage.k8s.io",
		"volumesnapshots.snapshot.storage.k8s.io",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("definitions (-want +got):\n%s", diff)
	}
}

func TestATurnstileClosesBehindThoseItHasHurried(t *testing.T) {
	var gate turnstile
	hurried := make(chan struct{})
	leave, ok := gate.begin(func() { close(hurried) })
	if !ok {
		t.Fatal("an open turnstile lets nobody in")
	}
	closed := make(chan struct{})
	go func() {
		gate.close()
		close(closed)
	}()
	<-hurried
	if _, ok := gate.begin(func() {}); ok {
		t.Error("somebody gets in although it is closing")
	}
	select {
	case <-closed:
		t.Error("it is closed although somebody is inside")
	default:
	}
	leave()
	<-closed
}
