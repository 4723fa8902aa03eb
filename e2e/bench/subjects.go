package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/e2e/harness"
)

// The subjects, as the command line and the figures name them.
const (
	subjectBerth       = "berth"
	subjectAdmitted    = "berth-admitted"
	subjectUnreserved  = "berth-unreserved"
	subjectPeerDefault = "peer-default"
	subjectPeerTuned   = "peer-tuned"
	subjectFloor       = "floor"
)

// subjectNames in the order of table columns, which is also that of the runs in a round.
func subjectNames() []string {
	return []string{subjectBerth, subjectAdmitted, subjectUnreserved, subjectPeerDefault, subjectPeerTuned, subjectFloor}
}

// defaultSubjects are those that are measured if nobody says which.
func defaultSubjects() []string {
	return []string{subjectBerth, subjectPeerDefault, subjectPeerTuned, subjectFloor}
}

// The user agents by which the audit log tells who asked.
const (
	benchUserAgent = "bench"
	berthUserAgent = "berth"
	peerUserAgent  = "csi-provisioner"
	floorUserAgent = "bench-floor"
)

const peerBinary = "csi-provisioner"

// checkBinaries finds out what is missing before anything is started, rather than in the middle of the night.
func checkBinaries(names []string) error {
	needed := []string{"controlplane", "poold"}
	for _, name := range names {
		if binary := subjects()[name].binary; binary != "" && !slices.Contains(needed, binary) {
			needed = append(needed, binary)
		}
	}
	for _, binary := range needed {
		if _, err := harness.Binary(binary); err != nil {
			if binary == peerBinary {
				return fmt.Errorf("no bin/%s: run \"make peer\", or leave it out with --subjects", binary)
			}
			return err
		}
	}
	return nil
}

// A subject is what is measured.
type subject struct {
	binary    string // that it needs; empty for none
	userAgent string
	// events are the reasons of the events it sends for each claim that it provisions.
	events []string
	// pace and deletePace are about how long it takes for a claim and for a deletion; they only serve to say how
	// long the bench will take.
	pace, deletePace time.Duration
	// capacityPace is the same for an object that says how much room there is.
	capacityPace time.Duration
	// steady: a limit of its own decides how long it takes, so that one round is enough.
	steady bool
	start  func(context.Context, *environment) (*harness.Process, error)
}

func subjects() map[string]subject {
	peerEvents := []string{"Provisioning", "ProvisioningSucceeded"}
	return map[string]subject{
		subjectBerth: {
			binary: "berth", userAgent: berthUserAgent, events: []string{"ProvisioningSucceeded"},
			pace: 25 * time.Millisecond, deletePace: 25 * time.Millisecond, capacityPace: 3 * time.Millisecond, start: startBerth,
		},
		subjectAdmitted: {
			binary: "berth", userAgent: berthUserAgent, events: []string{"ProvisioningSucceeded"},
			pace: 25 * time.Millisecond, deletePace: 25 * time.Millisecond, capacityPace: 3 * time.Millisecond, start: startAdmittedBerth,
		},
		subjectUnreserved: {
			binary: "berth", userAgent: berthUserAgent, events: []string{"ProvisioningSucceeded"},
			pace: 25 * time.Millisecond, deletePace: 25 * time.Millisecond, capacityPace: 3 * time.Millisecond,
			start: startUnreservedBerth,
		},
		subjectPeerDefault: {
			binary: peerBinary, userAgent: peerUserAgent, events: peerEvents,
			pace: 205 * time.Millisecond, deletePace: 410 * time.Millisecond, capacityPace: time.Second, steady: true, start: startPeer(nil),
		},
		subjectPeerTuned: {
			binary: peerBinary, userAgent: peerUserAgent, events: peerEvents,
			pace: 30 * time.Millisecond, deletePace: 45 * time.Millisecond, capacityPace: 8 * time.Millisecond,
			start: startPeer([]string{"--capacity-threads", "10", "--kube-api-capacity-qps", "1000", "--kube-api-capacity-burst", "2000"},
				"--kube-api-qps", "1000", "--kube-api-burst", "2000"),
		},
		subjectFloor: {
			userAgent: floorUserAgent,
			pace:      25 * time.Millisecond, deletePace: 25 * time.Millisecond, start: startFloor,
		},
	}
}

// berthAccount is the service account that Berth runs as.
const berthAccount = "berth"

// startBerth runs Berth as it is deployed in the place of the peer: with the rights of its role, and leader election.
func startBerth(ctx context.Context, e *environment) (*harness.Process, error) {
	berth, err := startBerthWith(ctx, e, nil)
	if err != nil {
		return nil, err
	}
	return berth.Process, nil
}

// startUnreservedBerth runs it without holding room back for volumes that are being created.
func startUnreservedBerth(ctx context.Context, e *environment) (*harness.Process, error) {
	berth, err := startBerthWith(ctx, e, nil, "--capacity-reservations=off")
	if err != nil {
		return nil, err
	}
	return berth.Process, nil
}

// startAdmittedBerth runs it as the chart does, with its webhooks, and returns when the API server calls them.
func startAdmittedBerth(ctx context.Context, e *environment) (*harness.Process, error) {
	berth, err := startBerthWith(ctx, e, &harness.AdmissionOptions{Account: berthAccount})
	if err != nil {
		return nil, err
	}
	if err := harness.NewWebhooks(berth.Admission).Install(ctx, e.client); err != nil {
		return berth.Process, err
	}
	return berth.Process, harness.Eventually(ctx, "claims are annotated as they are created", func(ctx context.Context) error {
		claim, err := e.client.CoreV1().PersistentVolumeClaims(benchNamespace).Create(ctx,
			harness.Claim(benchNamespace, "tried", classImmediate), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && claim.Annotations[volumehelpers.AnnStorageProvisioner] != e.driver.Name {
			err = fmt.Errorf("annotations are %v", claim.Annotations)
		}
		return err
	})
}

func startBerthWith(ctx context.Context, e *environment, admission *harness.AdmissionOptions, flags ...string) (*harness.Berth, error) {
	kubeconfig, err := harness.BerthAccount(ctx, e.controlPlane, berthAccount)
	if err != nil {
		return nil, err
	}
	berth, err := harness.StartBerth(ctx, e.dir, harness.BerthOptions{
		Kubeconfig: kubeconfig, Socket: e.driver.Socket, LeaderElection: true, Env: e.env,
		Flags: slices.Concat(flags, e.flags, e.berthFlags), Admission: admission,
	})
	if err != nil {
		return nil, err
	}
	e.metricsURL = berth.MetricsURL()
	return berth, nil
}

// startPeer runs the established provisioner in the same way, which its flags allow. Those about capacity are for where it publishes that.
func startPeer(capacityFlags []string, flags ...string) func(context.Context, *environment) (*harness.Process, error) {
	return func(ctx context.Context, e *environment) (*harness.Process, error) {
		binary, err := harness.Binary(peerBinary)
		if err != nil {
			return nil, err
		}
		kubeconfig, err := e.clusterAdmin(ctx, "csi-provisioner")
		if err != nil {
			return nil, err
		}
		all := slices.Concat(flags, e.flags)
		if e.flags != nil {
			all = append(all, capacityFlags...)
		}
		peer, err := harness.StartBerth(ctx, e.dir, harness.BerthOptions{
			Name: "csi-provisioner", Binary: binary,
			Kubeconfig: kubeconfig, Socket: e.driver.Socket, LeaderElection: true, Flags: all, Env: e.env,
		})
		if err != nil {
			return nil, err
		}
		e.metricsURL = peer.MetricsURL()
		return peer.Process, nil
	}
}

// startFloor runs this program again, so that what the floor costs is that of a process of its own.
func startFloor(ctx context.Context, e *environment) (*harness.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	kubeconfig, err := e.clusterAdmin(ctx, subjectFloor)
	if err != nil {
		return nil, err
	}
	return harness.StartProcess(harness.ProcessSpec{
		Name: subjectFloor, Path: self,
		Args: []string{
			subjectFloor, "--kubeconfig", kubeconfig, "--driver", e.driver.Name,
			"--topology-key", harness.ZoneKey(e.driver.Name),
		},
		Log: filepath.Join(e.dir, subjectFloor+".log"),
	})
}
