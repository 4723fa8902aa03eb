package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

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
	// standby starts a second replica; nil: there can be only one.
	standby func(context.Context, *environment) (*harness.Berth, error)
}

// hasReplicas reports whether a second replica of a subject can be started, and keeps pace with ten claims a second.
func hasReplicas(name string) bool {
	s := subjects()[name]
	return s.standby != nil && !s.steady
}

func subjects() map[string]subject {
	peerEvents := []string{"Provisioning", "ProvisioningSucceeded"}
	tuned := []string{"--kube-api-qps", "1000", "--kube-api-burst", "2000"}
	return map[string]subject{
		subjectBerth: {
			binary: "berth", userAgent: berthUserAgent, events: []string{"ProvisioningSucceeded"},
			pace: 25 * time.Millisecond, deletePace: 25 * time.Millisecond, capacityPace: 3 * time.Millisecond, start: startBerth, standby: standbyBerth,
		},
		subjectAdmitted: {
			binary: "berth", userAgent: berthUserAgent, events: []string{"ProvisioningSucceeded"},
			pace: 25 * time.Millisecond, deletePace: 25 * time.Millisecond, capacityPace: 3 * time.Millisecond, start: startAdmittedBerth, standby: standbyBerth,
		},
		subjectUnreserved: {
			binary: "berth", userAgent: berthUserAgent, events: []string{"ProvisioningSucceeded"},
			pace: 25 * time.Millisecond, deletePace: 25 * time.Millisecond, capacityPace: 3 * time.Millisecond,
			start: startUnreservedBerth,
		},
		subjectPeerDefault: {
			binary: peerBinary, userAgent: peerUserAgent, events: peerEvents,
			pace: 205 * time.Millisecond, deletePace: 410 * time.Millisecond, capacityPace: time.Second, steady: true, start: startPeer(nil), standby: standbyPeer(),
		},
		subjectPeerTuned: {
			binary: peerBinary, userAgent: peerUserAgent, events: peerEvents,
			pace: 30 * time.Millisecond, deletePace: 45 * time.Millisecond, capacityPace: 8 * time.Millisecond,
			start: startPeer([]string{"--capacity-threads", "10", "--kube-api-capacity-qps", "1000", "--kube-api-capacity-burst", "2000"},
				tuned...),
			standby: standbyPeer(tuned...),
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
	return berth.Process, e.awaitAnnotated(ctx)
}

func startBerthWith(ctx context.Context, e *environment, admission *harness.AdmissionOptions, flags ...string) (*harness.Berth, error) {
	options, err := e.berthOptions(ctx)
	if err != nil {
		return nil, err
	}
	options.Admission, options.Flags = admission, append(options.Flags, flags...)
	return e.startFirst(ctx, options)
}

// berthOptions are those of every replica.
func (e *environment) berthOptions(ctx context.Context) (harness.BerthOptions, error) {
	kubeconfig, err := harness.BerthAccount(ctx, e.controlPlane, berthAccount)
	return harness.BerthOptions{
		Kubeconfig: kubeconfig, Socket: e.driver.Socket, LeaderElection: true, Env: e.env, Flags: slices.Concat(e.flags, e.berthFlags),
	}, err
}

// startFirst starts the first replica.
func (e *environment) startFirst(ctx context.Context, options harness.BerthOptions) (*harness.Berth, error) {
	replica, err := harness.StartBerth(ctx, e.dir, options)
	if err == nil {
		e.replicas = []*harness.Berth{replica}
	}
	return replica, err
}

// startPeer runs the established provisioner in the same way, which its flags allow. Those about capacity are for where it publishes that.
func startPeer(capacityFlags []string, flags ...string) func(context.Context, *environment) (*harness.Process, error) {
	return func(ctx context.Context, e *environment) (*harness.Process, error) {
		all := flags
		if e.flags != nil {
			all = slices.Concat(flags, capacityFlags)
		}
		options, err := e.peerOptions(ctx, all)
		if err != nil {
			return nil, err
		}
		peer, err := e.startFirst(ctx, options)
		if err != nil {
			return nil, err
		}
		return peer.Process, nil
	}
}

// peerOptions are those of every replica.
func (e *environment) peerOptions(ctx context.Context, flags []string) (harness.BerthOptions, error) {
	binary, err := harness.Binary(peerBinary)
	if err != nil {
		return harness.BerthOptions{}, err
	}
	kubeconfig, err := e.clusterAdmin(ctx, peerBinary)
	return harness.BerthOptions{
		Name: peerBinary, Binary: binary, Kubeconfig: kubeconfig, Socket: e.driver.Socket, LeaderElection: true, Env: e.env, Flags: slices.Concat(flags, e.flags),
	}, err
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
