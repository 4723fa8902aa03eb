package main

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// The subjects, as the command line and the figures name them.
const (
	subjectBerth = "berth"
	subjectPeer  = "peer"
)

func subjectNames() []string { return []string{subjectBerth, subjectPeer} }

const peerBinary = "csi-provisioner"

// checkBinaries finds out what is missing before anything is started.
func checkBinaries(subjects []string) error {
	if err := harness.CheckBinaries(); err != nil {
		return err
	}
	for _, name := range subjects {
		if name == subjectPeer {
			if _, err := harness.Binary(peerBinary); err != nil {
				return fmt.Errorf("no bin/%s: run \"make peer\", or leave it out with --subjects", peerBinary)
			}
		}
	}
	return nil
}

// startReplicas starts the subject's replicas one after the other and leaves the last one running. They run in turn, as a
// Pod and the one that takes its place.
func (r *chaosRun) startReplicas(ctx context.Context) (processes []*harness.Process, err error) {
	defer func() {
		if err != nil { // nobody else knows of them
			for _, process := range processes {
				process.Kill()
			}
		}
	}()
	prepare := r.berthReplicas
	if r.subject == subjectPeer {
		prepare = r.peerReplicas
	}
	replicas, err := prepare(ctx)
	if err != nil {
		return nil, err
	}
	for i, options := range replicas {
		options.LeaderElection, options.Socket = true, r.driver.Socket
		options.Flags = append(r.options.Election.flags(), options.Flags...)
		started, err := harness.StartBerth(ctx, r.dir, options)
		if err != nil {
			return processes, err
		}
		processes = append(processes, started.Process)
		if i < len(replicas)-1 {
			if _, err := started.Stop(ctx); err != nil {
				return processes, err
			}
		}
	}
	return processes, nil
}

// berthReplicas are two that the lease can tell apart.
func (r *chaosRun) berthReplicas(ctx context.Context) ([]harness.BerthOptions, error) {
	kubeconfig, err := harness.BerthAccount(ctx, r.controlPlane, "berth")
	if err != nil {
		return nil, err
	}
	var replicas []harness.BerthOptions
	for _, name := range []string{"berth-0", "berth-1"} {
		replicas = append(replicas, harness.BerthOptions{
			Name: name, Kubeconfig: kubeconfig,
			Flags: append([]string{"--leader-election-identity=" + name}, r.options.BerthFlags...),
		})
	}
	return replicas, nil
}

// peerReplicas is one, because the established provisioner is always called after its host in the lease: it never has to
// wait. It may do everything, and its limits of five requests a second are raised, so that it is not judged by how far it
// got.
func (r *chaosRun) peerReplicas(ctx context.Context) ([]harness.BerthOptions, error) {
	binary, err := harness.Binary(peerBinary)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := r.controlPlane.ServiceAccountKubeconfig(ctx, harness.BerthNamespace, peerBinary)
	if err != nil {
		return nil, err
	}
	_, err = r.client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: peerBinary},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: harness.BerthNamespace, Name: peerBinary}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("rights of %s: %w", peerBinary, err)
	}
	return []harness.BerthOptions{{
		Name: peerBinary, Binary: binary, Kubeconfig: kubeconfig,
		Flags: []string{"--kube-api-qps=1000", "--kube-api-burst=2000"},
	}}, nil
}
