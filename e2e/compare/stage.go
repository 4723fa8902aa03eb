package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/e2e/harness"
)

// Words in a case's objects that stand for names which only the stage knows.
const (
	thisNamespace = "THIS-NAMESPACE"
	thisClass     = "THIS-CLASS"
	elsewhereName = "ELSEWHERE" // a second namespace
)

// house is what the stages of a subject in a group share.
type house struct {
	group   group
	subject subject
	client  *kubernetes.Clientset
	grants  gatewayclient.Interface
	snaps   *harness.Snapshotter
	driver  *harness.Driver
	process *harness.Berth
}

// stage is where one case is played for one subject: its namespaces, its class, and what was made on it.
type stage struct {
	*house

	testCase testCase
	// name is that of the namespace and the class; namespace is the one that ingredients go to.
	name, namespace string
	// sources are the claims that ingredients made, and snapshots those they took, by name.
	sources   map[string]*corev1.PersistentVolumeClaim
	snapshots map[string]*harness.Snapshot
	undo      []func(context.Context) error
}

func newStage(h *house, c testCase) *stage {
	name := slug(h.group.name, c.name)
	return &stage{
		house: h, testCase: c, name: name, namespace: name,
		sources: map[string]*corev1.PersistentVolumeClaim{}, snapshots: map[string]*harness.Snapshot{},
	}
}

// localised replaces the words that stand for this stage's names.
func (s *stage) localised(text string) string {
	switch text {
	case thisNamespace:
		return s.name
	case thisClass:
		return s.name
	case elsewhereName:
		return s.name + "-2"
	default:
		return text
	}
}

// prepare makes everything but the claims.
func (s *stage) prepare(ctx context.Context) error {
	if err := s.ensureNamespace(ctx, s.name); err != nil {
		return err
	}
	if !s.testCase.withoutClass {
		if err := s.createClass(ctx, s.name, s.testCase.class...); err != nil {
			return err
		}
	}
	for _, ingredient := range s.testCase.with {
		if err := ingredient(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// ensureNamespace creates a namespace; the one that the subject before has left is good enough.
func (s *stage) ensureNamespace(ctx context.Context, name string) error {
	_, err := s.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		err = harness.CreateNamespace(ctx, s.client, name)
	}
	return err
}

func (s *stage) createClass(ctx context.Context, name string, edits ...func(*storagev1.StorageClass)) error {
	class := harness.StorageClass(name, s.group.driver.name, edits...)
	for key, value := range class.Parameters {
		class.Parameters[key] = s.localised(value)
	}
	classes := s.client.StorageV1().StorageClasses()
	if _, err := classes.Create(ctx, class, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create class: %w", err)
	}
	s.later(func(ctx context.Context) error {
		return unlessGone(classes.Delete(ctx, name, metav1.DeleteOptions{}))
	})
	return nil
}

// createClaim creates a claim of a class in the stage's present namespace.
func (s *stage) createClaim(ctx context.Context, name, class string, edits ...func(*corev1.PersistentVolumeClaim)) (*corev1.PersistentVolumeClaim, error) {
	claim := harness.Claim(s.namespace, name, class, edits...)
	if ref := claim.Spec.DataSourceRef; ref != nil && ref.Namespace != nil {
		ref.Namespace = new(s.localised(*ref.Namespace))
	}
	if attributes := claim.Spec.VolumeAttributesClassName; attributes != nil {
		claim.Spec.VolumeAttributesClassName = new(s.attributesName(*attributes))
	}
	for key, value := range claim.Annotations {
		claim.Annotations[key] = s.localised(value)
	}
	claim, err := s.client.CoreV1().PersistentVolumeClaims(s.namespace).Create(ctx, claim, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create claim: %w", err)
	}
	return claim, nil
}

// attributesName is what a VolumeAttributesClass of a case is called in the cluster.
func (s *stage) attributesName(short string) string { return s.name + "-" + short }

// later has something undone when the case is over, last things first.
func (s *stage) later(undo func(context.Context) error) { s.undo = append(s.undo, undo) }

// clear undoes what was made.
func (s *stage) clear(ctx context.Context) error {
	var errs []error
	for _, undo := range slices.Backward(s.undo) {
		errs = append(errs, undo(ctx))
	}
	s.undo = nil
	return errors.Join(errs...)
}
