//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/e2e/harness"
)

// Stories of TestAdmission about claims that are made from something. Messages are compared as a whole: they are all that a user gets to see.

// original binds a claim that other claims are made from.
func (s *admissionStory) original() (class string) {
	s.t.Helper()
	class = s.class()
	s.admitted(class)
	s.claim("original", class)
	s.bound("original")
	return class
}

// wantDenied waits until a claim is denied with a message, which is tried without creating it.
func (s *admissionStory) wantDenied(class, message string, edits ...func(*corev1.PersistentVolumeClaim)) {
	s.t.Helper()
	must(s.t, harness.Eventually(s.t.Context(), "the claim is denied", func(context.Context) error {
		_, err := s.tried(class, edits...)
		switch {
		case err == nil:
			return errors.New("it is let in")
		case !apierrors.IsForbidden(err) || err.Error() != s.denied(message):
			return fmt.Errorf("it is refused with\n%w\nwant\n%s", err, s.denied(message))
		}
		return nil
	}))
}

// permit has a content's annotation permit another volume mode, or not any more.
func (s *story) permit(content string, value string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, harness.AllowModeChange, value)
	_, err := s.snapshots().API.SnapshotV1().VolumeSnapshotContents().
		Patch(s.t.Context(), content, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// differs is the message for a restore in another volume mode.
func (s *admissionStory) differs(namespace, snapshot, content string) string {
	return fmt.Sprintf("the claim's volume mode is Block, VolumeSnapshot %s/%s was taken of a Filesystem volume, and annotation %s of "+
		"VolumeSnapshotContent %q is missing: make the claim again with volume mode Filesystem, or have an administrator set the annotation to "+
		"\"true\"; that takes the permission to update VolumeSnapshotContents", namespace, snapshot, harness.AllowModeChange, content)
}

func (s *admissionStory) restoreInAnotherMode() {
	class := s.original()
	content := s.take("snap", "original").Content.Name
	s.wantDenied(class, s.differs(s.namespace, "snap", content), harness.FromSnapshot("snap"), harness.Block)
	s.warned("same", class, nil, harness.FromSnapshot("snap"))
	out, err := s.ControlPlane.Kubectl(s.t.Context(), s.manifest(class, harness.FromSnapshot("snap"), harness.Block), nil, "create", "-f", "-")
	if want := `Error from server (Forbidden): error when creating "STDIN": ` + s.denied(s.differs(s.namespace, "snap", content)) + "\n"; err == nil || out != want {
		s.t.Errorf("kubectl prints\n%swant\n%s", out, want)
	}

	must(s.t, s.permit(content, `"true"`))
	warning := fmt.Sprintf("the volume mode is changed from Filesystem to Block, as annotation %s of VolumeSnapshotContent %q permits", harness.AllowModeChange, content)
	s.warned("raw", class, []string{warning}, harness.FromSnapshot("snap"), harness.Block)
	out = s.kubectl(s.manifest(class, harness.FromSnapshot("snap"), harness.Block), "create")
	if want := "Warning: " + warning + "\npersistentvolumeclaim/data created\n"; out != want {
		s.t.Errorf("kubectl prints\n%swant\n%s", out, want)
	}
	s.wantAudited("raw", "volume-mode-conversion", "Filesystem to Block, VolumeSnapshotContent "+content)
	s.bound("raw")
}

// wantAudited checks what the webhook left in the audit log when a claim was created. The API server puts the webhook's name before it.
func (s *admissionStory) wantAudited(claim, key, want string) {
	s.t.Helper()
	key = s.hooks.ValidateClaims.Webhooks[0].Name + "/" + key
	if left := s.audited(claim); left[key] != want {
		s.t.Errorf("the audit log has %q at claim %s, want %s=%q", left, claim, key, want)
	}
}

// Who permits another volume mode and makes the claim in the next moment is ahead of every cache, and let in all the same.
func (s *admissionStory) permissionIsMindedAtOnce() {
	class := s.original()
	content := s.take("snap", "original").Content.Name
	for range tries(s.t, 20) {
		s.wantDenied(class, s.differs(s.namespace, "snap", content), harness.FromSnapshot("snap"), harness.Block)
		must(s.t, s.permit(content, `"true"`))
		if _, err := s.tried(class, harness.FromSnapshot("snap"), harness.Block); err != nil {
			s.t.Errorf("right after it was permitted: %v", err)
		}
		must(s.t, s.permit(content, "null"))
	}
}

func (s *admissionStory) cloneInAnotherMode() {
	class := s.original()
	_, volume := s.bound("original")
	s.wantDenied(class, fmt.Sprintf("the claim's volume mode is Block, that of PersistentVolume %q, the volume of PersistentVolumeClaim %s/original, "+
		"is Filesystem: make the claim again with volume mode Filesystem", volume.Name, s.namespace), harness.FromClaim("original"), harness.Block)

	// One without a volume has its volume mode already.
	later := s.class(harness.WaitForFirstConsumer)
	s.claim("unbound", later)
	s.wantDenied(class, fmt.Sprintf("the claim's volume mode is Block, that of PersistentVolumeClaim %s/unbound, which it is to be cloned from, is "+
		"Filesystem: make the claim with volume mode Filesystem; an annotation that permits another one exists for snapshots only", s.namespace),
		harness.FromClaim("unbound"), harness.Block)
	s.warned("clone", class, nil, harness.FromClaim("original"))
	s.bound("clone")
}

func (s *admissionStory) snapshotIsNotThereYet() {
	class := s.original()
	claim := s.warned("early", class, []string{
		fmt.Sprintf("waiting for VolumeSnapshot %s/snap: it does not exist", s.namespace),
	}, harness.FromSnapshot("snap"))
	s.wantOurs("it is the driver's all the same", claim, 2)
	s.wantAudited("early", "volume-mode-unchecked", "SnapshotNotFound")
	s.take("snap", "original")
	s.bound("early")
}

// With --admission-require-source-volume-mode nobody may restore what was taken of who knows what. TestAdmissionOnAStockControlPlane tells what
// becomes of it without.
func (s *admissionStory) snapshotOfUnknownMode() {
	class := s.original()
	content := s.take("snap", "original", harness.SnapshotMode("")).Content.Name
	message := func(mode corev1.PersistentVolumeMode) string {
		return fmt.Sprintf("it is not known which volume mode VolumeSnapshot %s/snap was taken of, so the claim's, %s, cannot be compared with it: "+
			"have whoever may update VolumeSnapshotContents set spec.sourceVolumeMode of VolumeSnapshotContent %q, or its annotation %s to \"true\"",
			s.namespace, mode, content, harness.AllowModeChange)
	}
	s.wantDenied(class, message(corev1.PersistentVolumeFilesystem), harness.FromSnapshot("snap"))
	s.wantDenied(class, message(corev1.PersistentVolumeBlock), harness.FromSnapshot("snap"), harness.Block)
	must(s.t, s.permit(content, `"true"`))
	s.warned("permitted", class, nil, harness.FromSnapshot("snap"))
	s.wantAudited("permitted", "volume-mode-unchecked", "SourceVolumeModeUnknown")
	s.bound("permitted")
}

// Without a grant nobody learns of another namespace what is in it: not even whether it is there.
func (s *admissionStory) foreignSourceIsHidden(grants gatewayclient.Interface) {
	owner := &admissionStory{newStory(s.t, s.World), s.hooks}
	class := owner.original()
	content := owner.take("snap", "original").Content.Name
	hidden := []string{"the data source is in another namespace, which has to permit that with a ReferenceGrant: no volume is created before it does"}
	for name, source := range map[string]harness.Source{
		"a-snapshot": harness.SnapshotSource(owner.namespace, "snap"), "no-snapshot": harness.SnapshotSource(owner.namespace, "none"),
		"a-claim": harness.ClaimSource(owner.namespace, "original"), "no-claim": harness.ClaimSource(owner.namespace, "none"),
		"no-namespace": harness.ClaimSource("nowhere", "none"),
	} {
		claim := s.warned(name, class, hidden, harness.From(source), harness.Block)
		s.wantOurs("the place of its source would tell something of it", claim, 2)
	}
	_, err := grants.GatewayV1beta1().ReferenceGrants(owner.namespace).Create(s.t.Context(),
		harness.ReferenceGrant(owner.namespace, "grant", harness.Grant{From: s.namespace, Group: harness.SnapshotGroup, Kind: "VolumeSnapshot"}),
		metav1.CreateOptions{})
	must(s.t, err)
	s.wantDenied(class, s.differs(owner.namespace, "snap", content), harness.From(harness.SnapshotSource(owner.namespace, "snap")), harness.Block)
	s.warned("granted", class, nil, harness.From(harness.SnapshotSource(owner.namespace, "snap")))
	s.bound("granted")
}

// Nobody but who is trusted with it says afterwards what a snapshot was taken of.
func (s *admissionStory) contentsAreNotForged() {
	s.original()
	taken := s.take("snap", "original", harness.SnapshotMode("")).Content
	contents := s.snapshots().API.SnapshotV1().VolumeSnapshotContents()
	denied := func(message string) string {
		return fmt.Sprintf("admission webhook %q denied the request: %s", s.hooks.ValidateContents.Webhooks[0].Name, message)
	}
	update := func(api snapshotclient.Interface, edit func(*snapshotv1.VolumeSnapshotContent)) error {
		s.t.Helper()
		content, err := contents.Get(s.t.Context(), taken.Name, metav1.GetOptions{})
		must(s.t, err)
		edit(content)
		_, err = api.SnapshotV1().VolumeSnapshotContents().Update(s.t.Context(), content, metav1.UpdateOptions{})
		return err
	}
	setMode := func(content *snapshotv1.VolumeSnapshotContent) {
		content.Spec.SourceVolumeMode = new(corev1.PersistentVolumeBlock)
	}

	err := update(s.snapshots().API, setMode)
	if want := denied(fmt.Sprintf("spec.sourceVolumeMode of VolumeSnapshotContent %q is not set, and only who is trusted with that may set it to Block: "+
		"what the snapshot was taken of is not known; to permit restoring it in any volume mode, set its annotation %s to \"true\"",
		taken.Name, harness.AllowModeChange)); !apierrors.IsForbidden(err) || err.Error() != want {
		s.t.Errorf("setting the volume mode is refused with\n%v\nwant\n%s", err, want)
	}
	err = s.permit(taken.Name, `"yes, please"`)
	if want := denied(fmt.Sprintf("annotation %s of VolumeSnapshotContent %q is \"yes, please\", which is not a boolean: set it to \"true\" to permit "+
		"restoring in another volume mode, or remove it", harness.AllowModeChange, taken.Name)); !apierrors.IsInvalid(err) || err.Error() != want {
		s.t.Errorf("an annotation that is no boolean is refused with\n%v\nwant\n%s", err, want)
	}
	check(s.t, update(s.snapshots().API, func(content *snapshotv1.VolumeSnapshotContent) {
		content.Labels = map[string]string{"anything": "else"}
	}))

	config := s.ControlPlane.Config()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	config.Impersonate.UserName, config.Impersonate.Groups = trusted, []string{"system:masters"}
	trusting, err := snapshotclient.NewForConfig(config)
	must(s.t, err)
	check(s.t, update(trusting, setMode))
}
