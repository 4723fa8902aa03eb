package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/e2e/harness"
)

// standbyName is what the second replica is called in the lease; the first is called after the host.
const standbyName = "standby"

// addStandby starts a second replica of the subject and waits until it is ready. If the subject serves webhooks, a Service in front of both is called
// from now on, and claims that cannot be admitted are refused.
func addStandby(ctx context.Context, e *environment) error {
	if e.subject.standby == nil || len(e.replicas) != 1 {
		return errors.New("this subject has no replicas")
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	standby, err := e.subject.standby(ctx, e)
	if err != nil {
		return err
	}
	e.replicas, e.identities = append(e.replicas, standby), []string{host, standbyName}
	for _, replica := range e.replicas {
		if err := e.awaitReady(ctx, replica); err != nil {
			return err
		}
	}
	if standby.Admission == nil {
		return nil
	}
	return e.balance(ctx)
}

// balance puts a Service in front of the webhooks of all replicas.
func (e *environment) balance(ctx context.Context) error {
	var addresses []string
	for _, replica := range e.replicas {
		addresses = append(addresses, replica.Admission.Address)
	}
	service, err := harness.StartService(ctx, addresses...)
	if err != nil {
		return err
	}
	e.service = service
	options := *e.replicas[0].Admission
	options.Address = service.Address
	webhooks := harness.NewWebhooks(&options)
	harness.Mandatory(webhooks)
	if err := webhooks.Remove(ctx, e.client); err != nil {
		return err
	}
	if err := webhooks.Install(ctx, e.client); err != nil {
		return err
	}
	return e.awaitAnnotated(ctx)
}

// awaitAnnotated waits until the API server calls the webhooks.
func (e *environment) awaitAnnotated(ctx context.Context) error {
	return harness.Eventually(ctx, "claims are annotated as they are created", func(ctx context.Context) error {
		claim, err := e.client.CoreV1().PersistentVolumeClaims(benchNamespace).Create(ctx,
			harness.Claim(benchNamespace, "tried", classImmediate), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && claim.Annotations[volumehelpers.AnnStorageProvisioner] != e.driver.Name {
			err = fmt.Errorf("annotations are %v", claim.Annotations)
		}
		return err
	})
}

// awaitReady waits until a replica says that it is ready. The established provisioner has nothing to say.
func (e *environment) awaitReady(ctx context.Context, replica *harness.Berth) error {
	return harness.Eventually(ctx, "the replica is ready", func(ctx context.Context) error {
		code, body, err := replica.Get(ctx, "/readyz")
		if err == nil && code != http.StatusOK && code != http.StatusNotFound {
			err = fmt.Errorf("/readyz answers %d %s", code, body)
		}
		return err
	})
}

// standbyBerth starts a second Berth, with a name of its own in the lease.
func standbyBerth(ctx context.Context, e *environment) (*harness.Berth, error) {
	options, err := e.berthOptions(ctx)
	if err != nil {
		return nil, err
	}
	if e.replicas[0].Admission != nil {
		options.Admission = &harness.AdmissionOptions{Account: berthAccount}
	}
	options.Name, options.Flags = "berth-"+standbyName, append(options.Flags, "--leader-election-identity="+standbyName)
	return harness.StartBerth(ctx, e.dir, options)
}

// standbyPeer starts a second established provisioner. It calls itself after its host in the lease, so it is given one.
func standbyPeer(flags ...string) func(context.Context, *environment) (*harness.Berth, error) {
	return func(ctx context.Context, e *environment) (*harness.Berth, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		options, err := e.peerOptions(ctx, flags)
		if err != nil {
			return nil, err
		}
		options.Name, options.Runner = peerBinary+"-"+standbyName, []string{self, onHostCommand, standbyName}
		return harness.StartBerth(ctx, e.dir, options)
	}
}

// onHostCommand has this program run another one on a host of another name: "bench on-host NAME PROGRAM ARGS...".
const onHostCommand = "on-host"

// onHost becomes the program. It only returns if that is not possible.
func onHost(args []string) error {
	if len(args) < 2 {
		return errors.New("on-host needs a name and a program")
	}
	runtime.LockOSThread() // the new name is this thread's, which is the one that becomes the program
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("be a host of another name, which takes root: %w", err)
	}
	if err := unix.Sethostname([]byte(args[0])); err != nil {
		return fmt.Errorf("be host %s: %w", args[0], err)
	}
	return syscall.Exec(args[1], args[1:], os.Environ()) //nolint:gosec // what we were told to run
}
