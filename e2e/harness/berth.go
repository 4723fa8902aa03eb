package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/util/wait"
)

// BerthOptions say how to run Berth. Kubeconfig is required, and so is Socket where there is a driver.
type BerthOptions struct {
	// Name of the process in messages and of its log file. Empty is "berth".
	Name string
	// Kubeconfig is the path of the one Berth uses, usually BerthAccount's.
	Kubeconfig string
	// Socket is the path of the driver's socket. Only one that does nothing but serve webhooks can do without.
	Socket string
	// LeaderElection makes it contend for the lease in BerthNamespace.
	LeaderElection bool
	// Admission has it serve its webhooks, see Webhooks. nil: it does not.
	Admission *AdmissionOptions
	// Flags are added to the command line.
	Flags []string
	// Env is added to the environment.
	Env []string
	// Binary runs another program that takes the same flags. Empty is bin/berth.
	Binary string
	// Runner is a command that runs the program with its arguments, which are added to it. Empty: it is run as it is.
	Runner []string
}

// Berth is the program under test.
type Berth struct {
	// URL of its HTTP server, without a path.
	URL string
	// Admission is how it serves its webhooks, with all that was left open filled in; nil: it does not.
	Admission *AdmissionOptions

	*Process
}

// StartBerth starts Berth with its log in dir, and returns when its HTTP server answers.
func StartBerth(ctx context.Context, dir string, options BerthOptions) (*Berth, error) {
	name := options.Name
	if name == "" {
		name = berthBinary
	}
	binary := options.Binary
	if binary == "" {
		var err error
		if binary, err = Binary(berthBinary); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	args := []string{"--kubeconfig", options.Kubeconfig, "--http-endpoint", address,
		"--leader-election-namespace", BerthNamespace} // where its journal is, too
	if options.Socket != "" {
		args = append(args, "--csi-address", options.Socket)
	}
	var admission *AdmissionOptions
	if options.Admission != nil {
		admission = new(*options.Admission)
		if err := admission.fill(ctx); err != nil {
			return nil, err
		}
		args = append(args, admission.flags()...)
	}
	if options.LeaderElection {
		args = append(args, "--leader-election")
	}
	args = append(args, options.Flags...)
	if len(options.Runner) > 0 {
		args = slices.Concat(options.Runner[1:], []string{binary}, args)
		binary = options.Runner[0]
	}
	process, err := StartProcess(ProcessSpec{
		Name: name, Path: binary, Args: args, Env: options.Env,
		Log: filepath.Join(dir, name+".log"),
	})
	if err != nil {
		return nil, err
	}
	b := &Berth{URL: "http://" + address, Admission: admission, Process: process}
	if err := b.awaitServing(ctx); err != nil {
		b.Kill()
		return nil, err
	}
	return b, nil
}

// Start starts Berth again after it ended, and returns when its HTTP server answers.
func (b *Berth) Start(ctx context.Context) error {
	if err := b.Process.Start(); err != nil {
		return err
	}
	return b.awaitServing(ctx)
}

// Restart stops Berth, which has to end with code 0, and starts it again.
func (b *Berth) Restart(ctx context.Context) error {
	exit, err := b.Stop(ctx)
	if err != nil {
		return err
	}
	if exit != (Exit{}) {
		return fmt.Errorf("restart: %s ended with %s; %s", b.spec.Name, exit, b.describeLog())
	}
	return b.Start(ctx)
}

// MetricsURL is where its metrics are.
func (b *Berth) MetricsURL() string { return b.URL + "/metrics" }

// Get asks its HTTP server for a path.
func (b *Berth) Get(ctx context.Context, path string) (code int, body string, err error) {
	return b.GetAs(ctx, "", path)
}

// GetAs asks its HTTP server for a path with a token.
func (b *Berth) GetAs(ctx context.Context, token, path string) (code int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+path, nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, string(data), err
}

func (b *Berth) awaitServing(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, poll, WaitTimeout, true, func(ctx context.Context) (bool, error) {
		if !b.Running() {
			exit, _ := b.Wait(ctx)
			return false, fmt.Errorf("it ended with %s", exit)
		}
		var code int
		if code, _, last = b.Get(ctx, "/metrics"); last == nil && code != http.StatusOK && code != http.StatusUnauthorized {
			last = fmt.Errorf("%s answers %d", b.MetricsURL(), code)
		}
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s not serving: %w; %s", b.spec.Name, errors.Join(err, last), b.describeLog())
	}
	return nil
}

// freeAddress finds a free port on loopback, below the ephemeral range so that no outgoing connection takes it between
// now and its use.
func freeAddress(ctx context.Context) (string, error) {
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			continue
		}
		return address, listener.Close()
	}
	return "", errors.New("find a free port: a hundred tries on loopback")
}
