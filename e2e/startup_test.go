//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-csi/berth/e2e/harness"
)

// logLine is a line of the log that is not about a problem, or only a passing one.
var logLine = regexp.MustCompile(`^[IW]\d{4} `)

func TestStartWithBadInputIsOneClearLine(t *testing.T) {
	t.Parallel()
	account, err := harness.BerthAccount(t.Context(), shared.ControlPlane, "berth-startup")
	must(t, err)
	dir := shortDir(t)
	nonsense := filepath.Join(dir, "nonsense.kubeconfig")
	must(t, os.WriteFile(nonsense, []byte("apiVersion: [\n"), 0o600))
	config := harness.ZonesConfig("node-only.csi.berth.dev", "zone-a")
	config.Capabilities.ControllerService = new(false)
	nodeOnly, err := harness.StartDriver(t.Context(), filepath.Join(dir, "node-only"), harness.DriverOptions{Config: config})
	must(t, err)
	t.Cleanup(func() { nodeOnly.Kill() })

	good := []string{"--kubeconfig=" + account, "--csi-address=" + shared.Driver.Socket, "--startup-timeout=3s"}
	for name, test := range map[string]struct {
		flags []string // come after the good ones
		want  []string // what the line has to name
	}{
		"a flag nobody knows":   {[]string{"--worker-thread=3"}, []string{"--worker-thread"}},
		"a number that is none": {[]string{"--worker-threads=some"}, []string{"--worker-threads", "some"}},
		"no workers":            {[]string{"--worker-threads=0"}, []string{"--worker-threads"}},
		"a time without a unit": {[]string{"--timeout=10"}, []string{"--timeout", "10"}},
		"an argument":           {[]string{"start"}, []string{"start"}},
		"a port that is none":   {[]string{"--http-endpoint=nowhere"}, []string{"--http-endpoint", "nowhere"}},
		"no driver":             {[]string{"--csi-address=" + dir + "/none.sock"}, []string{dir + "/none.sock"}},
		"a driver without a controller": {
			[]string{"--csi-address=" + nodeOnly.Socket}, []string{"node-only.csi.berth.dev", "CONTROLLER_SERVICE"},
		},
		"a driver of another name":   {[]string{"--driver-name=other.csi.berth.dev"}, []string{"other.csi.berth.dev", shared.Driver.Name}},
		"webhooks without a name":    {[]string{"--components=provisioner,webhook"}, []string{"--admission-service-names"}},
		"no kubeconfig":              {[]string{"--kubeconfig=" + dir + "/none"}, []string{dir + "/none"}},
		"a kubeconfig that is none":  {[]string{"--kubeconfig=" + nonsense}, []string{nonsense}},
		"an API server that is down": {[]string{"--kubeconfig=" + deadKubeconfig(t, dir, account)}, []string{"127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, exit := startInVain(t, append(append([]string{}, good...), test.flags...)...)
			if exit != (harness.Exit{Code: 1}) {
				t.Errorf("Berth ended with %s, want exit code 1", exit)
			}
			if len(said) != 1 {
				t.Errorf("Berth said %d lines, want one:\n%s", len(said), strings.Join(said, "\n"))
			}
			text := strings.Join(said, "\n")
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("Berth said what does not name %q:\n%s", want, text)
				}
			}
			for _, noise := range []string{"goroutine ", ".go:", "Usage:", "panic"} {
				if strings.Contains(text, noise) {
					t.Errorf("Berth said what holds %q:\n%s", noise, text)
				}
			}
		})
	}
}

// startInVain runs Berth, which has to give up by itself, and returns what it said beside its log.
func startInVain(t *testing.T, args ...string) ([]string, harness.Exit) {
	t.Helper()
	binary, err := harness.Binary("berth")
	must(t, err)
	process, err := harness.StartProcess(harness.ProcessSpec{
		Name: "berth", Path: binary, Args: args, Log: filepath.Join(t.TempDir(), "berth.log"),
	})
	must(t, err)
	defer process.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), harness.WaitTimeout)
	defer cancel()
	exit, err := process.Wait(ctx)
	must(t, err)
	var said []string
	for line := range strings.Lines(process.Log()) {
		if !logLine.MatchString(line) {
			said = append(said, strings.TrimSuffix(line, "\n"))
		}
	}
	return said, exit
}

func TestDriverThatComesLateIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := inOwnWorld(t, "late", func(options *harness.WorldOptions) { options.WithoutBerth = true })
	_, err := s.Driver.Stop(t.Context())
	must(t, err)
	started := make(chan error, 1)
	go func() {
		var err error
		s.Berth, err = s.StartBerth(t.Context(), harness.BerthOptions{})
		started <- err
	}()
	must(t, harness.Eventually(t.Context(), "Berth has been started", func(context.Context) error {
		_, err := os.Stat(filepath.Join(s.Dir, "berth", "berth.log"))
		return err
	}))
	must(t, s.Driver.Start(t.Context()))
	must(t, <-started)
	s.claim("data", s.class())
	s.bound("data")
}

// deadKubeconfig is a kubeconfig for a server that does not answer.
func deadKubeconfig(t *testing.T, dir, account string) string {
	t.Helper()
	data, err := os.ReadFile(account)
	must(t, err)
	dead := regexp.MustCompile(`https://127\.0\.0\.1:\d+`).ReplaceAll(data, []byte("https://127.0.0.1:1"))
	path := filepath.Join(dir, "dead.kubeconfig")
	must(t, os.WriteFile(path, dead, 0o600))
	return path
}

// shortDir is a temporary directory whose path leaves room for the name of a socket, which that of t.TempDir may not.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-") //nolint:usetesting // see above
	must(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	return dir
}
