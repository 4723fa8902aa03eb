package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"
)

// maxSocketPath is what the kernel leaves for the path of a unix socket.
const maxSocketPath = 107

// DriverOptions say how to run the driver.
type DriverOptions struct {
	Config DriverConfig
	// YAML is a configuration file to use as it stands, instead of Config.
	YAML string
	// NodeName is its node ID.
	NodeName string
	// WithoutCalls leaves out the call log; Calls then fails.
	WithoutCalls bool
	// Faults it starts with.
	Faults []Fault
}

// Driver is a CSI driver in a process of its own.
type Driver struct {
	// Name of the driver, and the path of its socket.
	Name, Socket string
	// CallLog is the file with a line a call, admin the socket it is ruled through.
	CallLog string

	*Process
	admin *http.Client
}

// StartDriver starts the driver with everything it keeps in dir, and returns when it answers.
func StartDriver(ctx context.Context, dir string, options DriverOptions) (*Driver, error) {
	binary, err := Binary(driverBinary)
	if err != nil {
		return nil, err
	}
	config := []byte(options.YAML)
	if len(config) == 0 {
		if config, err = yaml.Marshal(options.Config); err != nil {
			return nil, fmt.Errorf("driver's configuration: %w", err)
		}
	}
	name, err := driverName(config)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		Name:    name,
		Socket:  filepath.Join(dir, "csi.sock"),
		CallLog: filepath.Join(dir, "calls.jsonl"),
	}
	adminSocket := filepath.Join(dir, "admin.sock")
	if len(adminSocket) > maxSocketPath {
		return nil, fmt.Errorf("start driver: %s is longer than the %d bytes of a unix socket's path", adminSocket, maxSocketPath)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start driver: %w", err)
	}
	configFile := filepath.Join(dir, "driver.yaml")
	if err := os.WriteFile(configFile, config, 0o644); err != nil {
		return nil, fmt.Errorf("start driver: %w", err)
	}
	args := []string{
		"serve", "--config", configFile, "--endpoint", "unix://" + d.Socket,
		"--state", filepath.Join(dir, "state"), "--admin", "unix://" + adminSocket,
	}
	if !options.WithoutCalls {
		args = append(args, "--calls", d.CallLog)
	}
	if options.NodeName != "" {
		args = append(args, "--node-id", options.NodeName)
	}
	d.admin = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", adminSocket)
		},
		DisableKeepAlives: true, // the driver may be another process the next time
	}}
	d.Process, err = StartProcess(ProcessSpec{
		Name: driverBinary, Path: binary, Args: args, Log: filepath.Join(dir, "driver.log"),
	})
	if err != nil {
		return nil, err
	}
	if err := d.awaitReady(ctx); err != nil {
		d.Kill()
		return nil, err
	}
	if len(options.Faults) > 0 {
		if err := d.SetFaults(ctx, options.Faults...); err != nil {
			d.Kill()
			return nil, err
		}
	}
	return d, nil
}

func driverName(config []byte) (string, error) {
	var named struct {
		DriverName string `json:"driverName"`
	}
	if err := yaml.Unmarshal(config, &named); err != nil {
		return "", fmt.Errorf("driver's configuration: %w", err)
	}
	if named.DriverName == "" {
		return DefaultDriverName, nil
	}
	return named.DriverName, nil
}

// Start starts the driver again after it ended, with the volumes it had, and returns when it answers. Faults and counts
// are gone, the call log goes on.
func (d *Driver) Start(ctx context.Context) error {
	if err := d.Process.Start(); err != nil {
		return err
	}
	return d.awaitReady(ctx)
}

// Restart stops the driver and starts it again.
func (d *Driver) Restart(ctx context.Context) error {
	if _, err := d.Stop(ctx); err != nil {
		return err
	}
	return d.Start(ctx)
}

func (d *Driver) awaitReady(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, poll, WaitTimeout, true, func(ctx context.Context) (bool, error) {
		if !d.Running() {
			exit, _ := d.Wait(ctx)
			return false, fmt.Errorf("it ended with %s", exit)
		}
		last = d.call(ctx, http.MethodGet, "/healthz", nil, nil)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("driver not ready: %w; %s", errors.Join(err, last), d.describeLog())
	}
	return nil
}

// Volume is one the driver holds.
type Volume struct {
	ID            string              `json:"id"`
	Name          string              `json:"name"`
	CapacityBytes int64               `json:"capacityBytes"`
	Segments      []map[string]string `json:"segments"`
	Parameters    map[string]string   `json:"parameters"`
	Created       time.Time           `json:"created"`
}

// Volumes the driver holds now.
func (d *Driver) Volumes(ctx context.Context) ([]Volume, error) {
	var volumes []Volume
	err := d.call(ctx, http.MethodGet, "/volumes", nil, &volumes)
	return volumes, err
}

// CallCounts says how often each method has ended since the driver was last started.
func (d *Driver) CallCounts(ctx context.Context) (map[string]int, error) {
	var counts []struct {
		Method string `json:"method"`
		Count  int    `json:"count"`
	}
	if err := d.call(ctx, http.MethodGet, "/calls", nil, &counts); err != nil {
		return nil, err
	}
	byMethod := map[string]int{}
	for _, c := range counts {
		byMethod[c.Method] += c.Count
	}
	return byMethod, nil
}

// Faults the driver has, and what became of them.
func (d *Driver) Faults(ctx context.Context) ([]FaultUsage, error) {
	var faults []FaultUsage
	err := d.call(ctx, http.MethodGet, "/faults", nil, &faults)
	return faults, err
}

// SetFaults replaces the faults.
func (d *Driver) SetFaults(ctx context.Context, faults ...Fault) error {
	return d.call(ctx, http.MethodPut, "/faults", faults, nil)
}

// AddFault adds a fault after the ones there are.
func (d *Driver) AddFault(ctx context.Context, fault Fault) error {
	return d.call(ctx, http.MethodPost, "/faults", fault, nil)
}

// ClearFaults makes the driver behave.
func (d *Driver) ClearFaults(ctx context.Context) error {
	return d.call(ctx, http.MethodDelete, "/faults", nil, nil)
}

// SetPools changes the sizes of pools.
func (d *Driver) SetPools(ctx context.Context, pools ...DriverPool) error {
	return d.call(ctx, http.MethodPut, "/pools", pools, nil)
}

// call speaks to the admin socket.
func (d *Driver) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("driver's admin %s %s: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://driver"+path, body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := d.admin.Do(request)
	if err != nil {
		return fmt.Errorf("driver's admin: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("driver's admin %s %s: %w", method, path, err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("driver's admin %s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(data)))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("driver's admin %s %s: %w", method, path, err)
	}
	return nil
}
