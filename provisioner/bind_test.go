package provisioner

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// makeStored is the object of the claim's volume as it was stored, changed as the case needs it.
func makeStored(changes ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	mode := corev1.PersistentVolumeFilesystem
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name: testVolume, UID: "pv-uid", ResourceVersion: "3",
			Annotations: map[string]string{AnnotationProvisionedBy: testDriver},
		},
		Spec: corev1.PersistentVolumeSpec{
			ClaimRef:                      claimReference(makeClaim()),
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName:              "fast",
			VolumeMode:                    &mode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: "vol-1"}},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumePending},
	}
	for _, change := range changes {
		change(pv)
	}
	return pv
}

func inPhase(phase corev1.PersistentVolumePhase) func(*corev1.PersistentVolume) {
	return func(pv *corev1.PersistentVolume) { pv.Status.Phase = phase }
}

func claimPhase(phase corev1.PersistentVolumeClaimPhase) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { claim.Status.Phase = phase }
}

func bindCompleted(claim *corev1.PersistentVolumeClaim) {
	annotated("pv.kubernetes.io/bind-completed", "yes")(claim)
}

func TestDecideBind(t *testing.T) {
	type in = BindInput
	volume := func(changes ...func(*corev1.PersistentVolume)) func(*in) {
		return func(in *in) { in.Volume = makeStored(changes...) }
	}
	claim := func(changes ...func(*corev1.PersistentVolumeClaim)) func(*in) {
		return func(in *in) { in.Claim = makeClaim(changes...) }
	}
	left := func(reason string) BindAction { return LeaveBinding{Reason: reason} }
	tests := map[string]struct {
		change []func(*in)
		want   BindAction
	}{
		"the volume comes first":                        {nil, BindVolume{}},
		"then the claim":                                {[]func(*in){volume(inPhase(corev1.VolumeBound))}, BindClaim{}},
		"then the claim's status":                       {[]func(*in){volume(inPhase(corev1.VolumeBound)), claim(boundTo(testVolume), bindCompleted)}, CompleteClaim{}},
		"when all is written there is nothing to do":    {[]func(*in){volume(inPhase(corev1.VolumeBound)), claim(boundTo(testVolume), claimPhase(corev1.ClaimBound))}, Finished{}},
		"a phase that is missing last is written":       {[]func(*in){claim(boundTo(testVolume), bindCompleted, claimPhase(corev1.ClaimBound))}, BindVolume{}},
		"a volume of an old API server has no phase":    {[]func(*in){volume(inPhase(""))}, BindVolume{}},
		"no volume, nothing to do":                      {[]func(*in){func(in *in) { in.Volume = nil }}, Finished{}},
		"the claim is gone":                             {[]func(*in){func(in *in) { in.Claim = nil }}, left(LeftClaimGone)},
		"the claim is being deleted":                    {[]func(*in){claim(deleting)}, left(LeftClaimGone)},
		"a bound claim is being deleted, half-way":      {[]func(*in){claim(deleting, boundTo(testVolume), bindCompleted)}, left(LeftClaimGone)},
		"the claim has another volume":                  {[]func(*in){claim(boundTo("static"))}, left(LeftBoundElsewhere)},
		"somebody named the volume and did not bind it": {[]func(*in){claim(boundTo(testVolume))}, left(LeftBoundElsewhere)},
		"the volume is being deleted": {[]func(*in){volume(func(pv *corev1.PersistentVolume) {
			pv.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		})}, left(LeftVolumeUnfit)},
		"the volume is released":                      {[]func(*in){volume(inPhase(corev1.VolumeReleased))}, left(LeftVolumeUnfit)},
		"the volume failed":                           {[]func(*in){volume(inPhase(corev1.VolumeFailed))}, left(LeftVolumeUnfit)},
		"the volume was unbound":                      {[]func(*in){volume(inPhase(corev1.VolumeAvailable))}, left(LeftVolumeUnfit)},
		"the volume is for nobody":                    {[]func(*in){volume(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = nil })}, left(LeftVolumeUnfit)},
		"the volume is for a claim by name only":      {[]func(*in){volume(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "" })}, left(LeftVolumeUnfit)},
		"the volume is for a claim that had the name": {[]func(*in){volume(func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef.UID = "older" })}, left(LeftVolumeUnfit)},
		"the volume was made by hand":                 {[]func(*in){volume(func(pv *corev1.PersistentVolume) { pv.Annotations = nil })}, left(LeftVolumeUnfit)},
		"the volume is another driver's":              {[]func(*in){volume(func(pv *corev1.PersistentVolume) { pv.Spec.CSI.Driver = "other" })}, left(LeftVolumeUnfit)},
		"the claim went to another driver":            {[]func(*in){claim(annotated("volume.kubernetes.io/storage-provisioner", "other"))}, left(LeftVolumeUnfit)},
		"the volume is too small": {[]func(*in){volume(func(pv *corev1.PersistentVolume) {
			pv.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse("1Mi")
		})}, left(LeftVolumeUnfit)},
		"the volume has another mode": {[]func(*in){volume(func(pv *corev1.PersistentVolume) {
			mode := corev1.PersistentVolumeBlock
			pv.Spec.VolumeMode = &mode
		})}, left(LeftVolumeUnfit)},
		"the claim wants attributes that the volume has not": {[]func(*in){claim(withAttributes("gold"))}, left(LeftVolumeUnfit)},
		"both have the same attributes": {[]func(*in){claim(withAttributes("gold")), volume(func(pv *corev1.PersistentVolume) {
			pv.Spec.VolumeAttributesClassName = new("gold")
		})}, BindVolume{}},
		"a file system is being resized": {[]func(*in){volume(func(pv *corev1.PersistentVolume) { pv.Annotations[annotationPreResize] = "1Mi" })}, left(LeftVolumeUnfit)},
		"the binder calls it lost":       {[]func(*in){claim(boundTo(testVolume), bindCompleted, claimPhase(corev1.ClaimLost))}, left(LeftLost)},

		"a selected node that reaches the volume":             {[]func(*in){claim(onNode("n1")), func(in *in) { in.Delayed = true }}, BindVolume{}},
		"the node was taken away":                             {[]func(*in){func(in *in) { in.Delayed = true }}, left(LeftRescheduled)},
		"another node is selected, out of reach":              {[]func(*in){claim(onNode("n2")), func(in *in) { in.Delayed, in.Unreachable = true, errors.New("zone") }}, left(LeftRescheduled)},
		"taken away from a claim that is bound":               {[]func(*in){claim(boundTo(testVolume), bindCompleted), volume(inPhase(corev1.VolumeBound)), func(in *in) { in.Delayed = true }}, CompleteClaim{}},
		"the binder has a head start":                         {[]func(*in){func(in *in) { in.Age = 30 * time.Millisecond }}, AwaitBinder{70 * time.Millisecond, LeftBinderFaster}},
		"the binder is behind":                                {[]func(*in){func(in *in) { in.Behind = true }}, AwaitBinder{behindPause, LeftBinderBehind}},
		"what was begun is finished, behind or not":           {[]func(*in){claim(boundTo(testVolume), bindCompleted), func(in *in) { in.Behind, in.Age = true, 0 }}, BindVolume{}},
		"a cached volume lacks what is to be compared":        {[]func(*in){func(in *in) { in.VolumeWhole = false }}, ReadBinding{}},
		"a cached claim does, once it is bound":               {[]func(*in){claim(boundTo(testVolume)), func(in *in) { in.ClaimWhole = false }}, ReadBinding{}},
		"a cached claim that waits has everything":            {[]func(*in){func(in *in) { in.ClaimWhole = false }}, BindVolume{}},
		"nothing is read for a claim that is not to be bound": {[]func(*in){claim(deleting), func(in *in) { in.VolumeWhole = false }}, left(LeftClaimGone)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := in{Settings: testSettings(), Claim: makeClaim(), Volume: makeStored(), ClaimWhole: true, VolumeWhole: true, Age: time.Second, HeadStart: 100 * time.Millisecond}
			for _, change := range tt.change {
				change(&in)
			}
			got := DecideBind(in)
			if l, ok := got.(LeaveBinding); ok {
				if l.Why == "" {
					t.Error("it does not say why")
				}
				l.Why = ""
				got = l
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Every claim that can be bound at all is bound in three steps, and then nothing is left to do.
func TestThreeStepsBind(t *testing.T) {
	in := BindInput{Settings: testSettings(), Claim: makeClaim(), Volume: makeStored(), ClaimWhole: true, VolumeWhole: true}
	for _, step := range []struct {
		want BindAction
		done func()
	}{
		{BindVolume{}, func() { in.Volume = makeStored(inPhase(corev1.VolumeBound)) }},
		{BindClaim{}, func() { in.Claim = makeClaim(boundTo(testVolume), bindCompleted) }},
		{CompleteClaim{}, func() { in.Claim = makeClaim(boundTo(testVolume), bindCompleted, claimPhase(corev1.ClaimBound)) }},
		{Finished{}, func() {}},
	} {
		if diff := cmp.Diff(step.want, DecideBind(in)); diff != "" {
			t.Fatal(diff)
		}
		step.done()
	}
}

func TestBindPatches(t *testing.T) {
	tests := map[string]struct {
		patch any
		want  string
	}{
		"the volume": {volumePatch(makeStored()), `{"metadata":{"uid":"pv-uid","resourceVersion":"3"},"status":{"phase":"Bound"}}`},
		"the claim": {claimPatch(makeClaim(), makeStored()),
			`{"metadata":{"uid":"` + string(testUID) + `","resourceVersion":"7","annotations":{"pv.kubernetes.io/bind-completed":"yes","pv.kubernetes.io/bound-by-controller":"yes"}},"spec":{"volumeName":"` + testVolume + `"}}`},
		"a claim that says who bound it keeps that": {claimPatch(makeClaim(annotated("pv.kubernetes.io/bound-by-controller", "really")), makeStored()),
			`{"metadata":{"uid":"` + string(testUID) + `","resourceVersion":"7","annotations":{"pv.kubernetes.io/bind-completed":"yes"}},"spec":{"volumeName":"` + testVolume + `"}}`},
		"the status": {statusPatch(makeClaim(), makeStored()),
			`{"metadata":{"uid":"` + string(testUID) + `","resourceVersion":"7"},"status":{"phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"}}}`},
		"a capacity that is right stays": {statusPatch(makeClaim(func(claim *corev1.PersistentVolumeClaim) {
			claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1024Mi")}
		}), makeStored()),
			`{"metadata":{"uid":"` + string(testUID) + `","resourceVersion":"7"},"status":{"phase":"Bound","accessModes":["ReadWriteOnce"]}}`},
		"the status with attributes": {statusPatch(makeClaim(), makeStored(func(pv *corev1.PersistentVolume) { pv.Spec.VolumeAttributesClassName = new("gold") })),
			`{"metadata":{"uid":"` + string(testUID) + `","resourceVersion":"7"},"status":{"phase":"Bound","accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"currentVolumeAttributesClassName":"gold"}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(tt.patch)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
