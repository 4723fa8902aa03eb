package provisioner

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func sketchVolume(action VolumeAction) string {
	switch a := action.(type) {
	case LeaveVolume:
		return "leave: " + a.Why
	case AddFinalizer:
		return "add finalizer"
	case DropFinalizer:
		return "drop finalizer"
	case AwaitDetach:
		return "await: " + a.Message
	case RefuseVolume:
		return "refuse: " + a.Message
	case DeleteVolume:
		return "delete " + a.Handle
	case DeleteObject:
		return "delete object"
	}
	return "nothing"
}

func TestDecideVolume(t *testing.T) {
	now := metav1.NewTime(time.Unix(1, 0))
	phase := func(p corev1.PersistentVolumePhase) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) { pv.Status.Phase = p }
	}
	retained := func(pv *corev1.PersistentVolume) {
		pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	}
	unprotected := func(pv *corev1.PersistentVolume) { pv.Finalizers = []string{"kubernetes.io/pv-protection"} }
	terminating := func(pv *corev1.PersistentVolume) { pv.DeletionTimestamp = &now }
	by := func(provisioner, driver string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) {
			pv.Annotations = map[string]string{AnnotationProvisionedBy: provisioner}
			pv.Spec.CSI.Driver = driver
		}
	}
	static := func(pv *corev1.PersistentVolume) { pv.Annotations = nil }
	in := func(changes ...func(*corev1.PersistentVolume)) VolumeInput {
		return VolumeInput{Settings: testSettings(), Volume: makeVolume(changes...)}
	}
	with := func(in VolumeInput, change func(*VolumeInput)) VolumeInput {
		change(&in)
		return in
	}
	tests := map[string]struct {
		in   VolumeInput
		want string
	}{
		"gone":                                {VolumeInput{Settings: testSettings()}, "leave: it is gone"},
		"released":                            {in(), "delete handle-1"},
		"released, its object being deleted":  {in(terminating), "delete handle-1"},
		"released and never protected":        {in(unprotected), "delete handle-1"},
		"somebody else deletes it":            {in(unprotected, terminating), "leave: somebody else is deleting its object"},
		"bound":                               {in(phase(corev1.VolumeBound)), "leave: it is not released"},
		"bound, its object being deleted":     {in(phase(corev1.VolumeBound), terminating), "leave: it is not released"},
		"bound and not protected yet":         {in(phase(corev1.VolumeBound), unprotected), "add finalizer"},
		"bound, not protected, being deleted": {in(phase(corev1.VolumeBound), unprotected, terminating), "leave: it is not released"},
		"available":                           {in(phase(corev1.VolumeAvailable)), "leave: it is not released"},
		"failed":                              {in(phase(corev1.VolumeFailed)), "leave: it is not released"},
		"not looked at by anybody yet":        {in(phase("")), "leave: it is not released"},
		"retained":                            {in(retained, unprotected), "leave: its reclaim policy keeps it"},
		"retained since it was made":          {in(retained), "drop finalizer"},
		"bound and retained since":            {in(retained, phase(corev1.VolumeBound)), "drop finalizer"},
		"of another driver":                   {in(by("other", "other")), "leave: it belongs to another driver"},
		"annotated for another":               {in(by("other", testDriver)), "leave: it belongs to another driver"},
		"annotated for us, of another":        {in(by(testDriver, "other")), "leave: it belongs to another driver"},
		"made by hand for us":                 {in(static), "delete handle-1"},
		"not CSI":                             {in(func(pv *corev1.PersistentVolume) { pv.Spec.CSI = nil }), "leave: it belongs to another driver"},
		"without a handle":                    {in(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.VolumeHandle = "" }), "refuse: PersistentVolume \"" + testVolume + "\" has no volume handle"},
		"attached": {with(in(), func(in *VolumeInput) { in.AttachedTo = []string{"n1", "n2"} }),
			"await: the volume is deleted as soon as it is detached from n1, n2"},
		"the driver has deleted it":                              {with(in(), func(in *VolumeInput) { in.Progress = VolumeDeleted }), "delete object"},
		"the driver has deleted it, attached again in the cache": {with(in(), func(in *VolumeInput) { in.Progress = VolumeDeleted; in.AttachedTo = []string{"n1"} }), "delete object"},
		"all is deleted, the cache lags":                         {with(in(), func(in *VolumeInput) { in.Progress = ObjectDeleted }), "leave: it is deleted"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sketchVolume(DecideVolume(tt.in)); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}
