package provisioner

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
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

func TestTheSecretForDeleting(t *testing.T) {
	const name, namespace = AnnotationDeletionSecretName, AnnotationDeletionSecretNamespace
	const secretName, secretNamespace = "csi.storage.k8s.io/provisioner-secret-name", "csi.storage.k8s.io/provisioner-secret-namespace"
	annotations := func(pairs ...string) func(*corev1.PersistentVolume) {
		return func(pv *corev1.PersistentVolume) {
			pv.Annotations = makeClass(parameters(append(pairs, AnnotationProvisionedBy, testDriver)...)).Parameters
		}
	}
	class := func(pairs ...string) *storagev1.StorageClass { return makeClass(parameters(pairs...)) }
	templates := class(secretName, "${pv.name}.${pvc.name}", secretNamespace, "${pvc.namespace}")
	tests := map[string]struct {
		pv    *corev1.PersistentVolume
		class *storagev1.StorageClass
		want  *corev1.SecretReference
		err   string
	}{
		"its annotations name it":                      {makeVolume(annotations(name, "s", namespace, "far")), nil, secretRef("s", "far"), ""},
		"its annotations win over its class":           {makeVolume(annotations(name, "s", namespace, "far")), templates, secretRef("s", "far"), ""},
		"its annotations say that there is none":       {makeVolume(annotations(name, "", namespace, "")), templates, nil, ""},
		"its annotations name half of it":              {makeVolume(annotations(name, "s", namespace, "")), templates, nil, ""},
		"its annotations name the other half of it":    {makeVolume(annotations(name, "", namespace, "far")), templates, nil, ""},
		"its class names it":                           {makeVolume(annotations()), templates, secretRef(testVolume+".data", "ns"), ""},
		"an annotation of its name alone is none":      {makeVolume(annotations(name, "s")), templates, secretRef(testVolume+".data", "ns"), ""},
		"an annotation of its namespace alone is none": {makeVolume(annotations(namespace, "far")), templates, secretRef(testVolume+".data", "ns"), ""},
		"its class names it as the default":            {makeVolume(annotations()), class("csi.storage.k8s.io/secret-name", "d", "csi.storage.k8s.io/secret-namespace", "far"), secretRef("d", "far"), ""},
		"its class names it in the old way":            {makeVolume(annotations()), class("csiProvisionerSecretName", "s", "csiProvisionerSecretNamespace", "far"), secretRef("s", "far"), ""},
		"its class names one for another purpose":      {makeVolume(annotations()), class("csi.storage.k8s.io/node-stage-secret-name", "s", "csi.storage.k8s.io/node-stage-secret-namespace", "far"), nil, ""},
		"its class names none":                         {makeVolume(annotations()), class(), nil, ""},
		"its class is gone":                            {makeVolume(annotations()), nil, nil, ""},
		"it is for nobody":                             {makeVolume(annotations(), func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil }), templates, nil, ""},
		"its class names it by what is gone": {makeVolume(annotations()), class(secretName, "${pvc.annotations['team']}", secretNamespace, "far"), nil,
			`parameter "csi.storage.k8s.io/provisioner-secret-name" is "${pvc.annotations['team']}", where nothing is known by the name "pvc.annotations['team']"`},
	}
	for test, tt := range tests {
		t.Run(test, func(t *testing.T) {
			got, err := deletionSecret(tt.pv, tt.class)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("got  %v\nwant %v", err, tt.err)
			}
			in := VolumeInput{Settings: testSettings(), Volume: tt.pv, Class: tt.class}
			if tt.err != "" {
				if got, want := sketchVolume(DecideVolume(in)), "refuse: PersistentVolume \""+testVolume+"\" needs a secret to be deleted that its class \"fast\" does not name properly: "+tt.err; !strings.HasPrefix(got, want) {
					t.Errorf("got  %s\nwant %s", got, want)
				}
				return
			}
			if diff := cmp.Diff(DeleteVolume{Handle: "handle-1", Secret: tt.want}, DecideVolume(in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
