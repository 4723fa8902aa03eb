package main

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// The subjects, as reports name them. The first is what the second is held against.
const (
	peerName  = "csi-provisioner"
	berthName = "berth"
)

// subject is a provisioner.
type subject struct {
	name string
	// kubeconfig it uses.
	kubeconfig string
	// binary to run; empty is bin/berth.
	binary string
	// flags beside the group's.
	flags []string
}

// subjects are the established provisioner, which may do everything and is not slowed down, and Berth with the rights of
// its role.
func subjects(ctx context.Context, c *harness.ControlPlane) ([]subject, error) {
	peer := subject{name: peerName, flags: []string{"--kube-api-qps", "1000", "--kube-api-burst", "2000"}}
	var err error
	if peer.binary, err = harness.Binary(peerName); err != nil {
		return nil, fmt.Errorf("no bin/%s: run \"make peer\"", peerName)
	}
	if peer.kubeconfig, err = clusterAdmin(ctx, c, peerName); err != nil {
		return nil, err
	}
	berth := subject{name: berthName}
	if berth.kubeconfig, err = harness.BerthAccount(ctx, c, berthName); err != nil {
		return nil, err
	}
	return []subject{peer, berth}, nil
}

func (s subject) start(ctx context.Context, dir string, driver *harness.Driver, flags []string) (*harness.Berth, error) {
	return harness.StartBerth(ctx, dir, harness.BerthOptions{
		Name: s.name, Binary: s.binary, Kubeconfig: s.kubeconfig, Socket: driver.Socket,
		Flags: append(append([]string{}, s.flags...), flags...),
	})
}

// clusterAdmin makes a service account that may do everything and returns the path of a kubeconfig for it.
func clusterAdmin(ctx context.Context, c *harness.ControlPlane, name string) (string, error) {
	kubeconfig, err := c.ServiceAccountKubeconfig(ctx, harness.BerthNamespace, name)
	if err != nil {
		return "", err
	}
	_, err = c.Client().RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: harness.BerthNamespace, Name: name}},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("rights of %s: %w", name, err)
	}
	return kubeconfig, nil
}

func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
