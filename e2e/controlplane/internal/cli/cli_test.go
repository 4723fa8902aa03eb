package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/supervisor"
)

func TestComponentCallsAreRecognised(t *testing.T) {
	cases := map[string]struct {
		args []string
		want ComponentCall
		ok   bool
	}{
		"a component with flags":  {[]string{"etcd", "component", "etcd", "--a=b"}, ComponentCall{Name: component.Etcd, Args: []string{"--a=b"}}, true},
		"an unknown component":    {[]string{"x", "component", "kube-proxy"}, ComponentCall{}, false},
		"no component":            {[]string{"x", "component"}, ComponentCall{}, false},
		"an ordinary subcommand":  {[]string{"x", "up", "etcd"}, ComponentCall{}, false},
		"no arguments whatsoever": {nil, ComponentCall{}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := ParseComponentCall(c.args)
			if diff := cmp.Diff(c.want, got); diff != "" || ok != c.ok {
				t.Errorf("%t, call (-want +got):\n%s", ok, diff)
			}
		})
	}
}

func TestALifelineEndsWithTheSupervisor(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	inherited, err := syscall.Dup(int(reader.Fd())) // Lifeline takes it over
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(supervisor.LifelineVariable, strconv.Itoa(inherited))
	lifeline := Lifeline()
	writer.Close()
	if _, err := lifeline.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read: %v", err)
	}
}

func TestShellQuote(t *testing.T) {
	for in, want := range map[string]string{
		"/tmp/a-b_c.d/kubeconfig": "/tmp/a-b_c.d/kubeconfig",
		"/tmp/a b":                "'/tmp/a b'",
		"/tmp/it's":               `'/tmp/it'\''s'`,
	} {
		if got := shellQuote(in); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func execute(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	command := New()
	var out bytes.Buffer
	command.SetOut(&out)
	command.SetErr(io.Discard)
	command.SetArgs(args)
	err = command.ExecuteContext(context.Background())
	return out.String(), err
}

func TestMistakesAreToldInOneLine(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]struct {
		args []string
		want string
	}{
		"no directory":           {[]string{"status"}, "no directory given, use --dir"},
		"nothing runs":           {[]string{"status", "--dir", dir}, dir + "/control.sock: no control plane is running"},
		"unknown component":      {[]string{"kill", "--dir", dir, "kube-proxy"}, "unknown component"},
		"no component":           {[]string{"start", "--dir", dir}, "accepts 1 arg"},
		"malformed flag":         {[]string{"restart", "--dir", dir, "etcd", "--set", "x"}, `"x" is not FLAG=VALUE`},
		"malformed gate":         {[]string{"up", "--dir", dir, "--feature-gates", "x"}, `"x" is not COMPONENT:GATE=BOOL`},
		"a kubelet without node": {[]string{"up", "--dir", dir, "--set", "kubelet:v=4"}, `"kubelet:v=4": there is no kubelet without --node`},
		"image without node":     {[]string{"up", "--dir", dir, "--image", "x.tar"}, "--image and --node-runtime are for --node"},
		"node in a hidden place": {[]string{"up", "--dir", "/run/cluster", "--node"}, "/run/cluster is below /run, of which a node has its own"},
		"no node to run on":      {[]string{"exec", "--dir", dir, "--", "true"}, dir + "/control.sock: no control plane is running"},
		"no command to run":      {[]string{"exec", "--dir", dir}, "requires at least 1 arg"},
		"timeout of zero":        {[]string{"up", "--dir", dir, "--timeout", "0s"}, "--timeout 0s is not positive"},
		"no limits":              {[]string{"limits", "--dir", dir}, "give --qps and --burst, or --stock"},
		"limits and stock":       {[]string{"limits", "--dir", dir, "--qps", "1", "--stock"}, "give --qps and --burst, or --stock"},
		"no subject":             {[]string{"kubeconfig", "--dir", dir}, "service-account user"},
		"kubeconfig before up":   {[]string{"kubeconfig", "--dir", dir, "--user", "x"}, "no such file"},
		"bad regular expression": {[]string{"requests", "--dir", dir, "--user-agent", "("}, "--user-agent: "},
		"bad time":               {[]string{"requests", "--dir", dir, "--since", "noon"}, "--since: "},
		"requests without log":   {[]string{"requests", "--dir", dir}, "--audit=false"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := execute(t, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, c.want)
			}
		})
	}
}

func TestDownWithoutUpCleansUp(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := execute(t, "down", "--dir", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ready); !os.IsNotExist(err) {
		t.Errorf("the ready file is still there (%v)", err)
	}
	if _, err := execute(t, "down", "--dir", filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
}

func TestRequestsWithoutAnyIsAnEmptyList(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "audit.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := execute(t, "requests", "--dir", dir, "--json"); err != nil || out != "[]\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
