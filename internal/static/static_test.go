package static

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

func makeClaim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "data", UID: "uid"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: new("fast"),
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

type volumeChange = func(*corev1.PersistentVolume)

// makeVolume is an Available volume of 1Gi in class "fast".
func makeVolume(changes ...volumeChange) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv"},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "fast",
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadOnlyMany},
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable},
	}
	for _, change := range changes {
		change(volume)
	}
	return volume
}

func called(name string) volumeChange {
	return func(volume *corev1.PersistentVolume) { volume.Name = name }
}

func inPhase(phase corev1.PersistentVolumePhase) volumeChange {
	return func(volume *corev1.PersistentVolume) { volume.Status.Phase = phase }
}

func claimedBy(name string, uid types.UID) volumeChange {
	return func(volume *corev1.PersistentVolume) {
		volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: name, UID: uid}
	}
}

func deletion() *metav1.Time { return new(metav1.NewTime(time.Unix(1, 0))) }

// indexOf is an Index over a real indexer that holds these volumes.
func indexOf(t *testing.T, volumes ...*corev1.PersistentVolume) *Index {
	t.Helper()
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, Indexers())
	for _, volume := range volumes {
		if err := indexer.Add(volume); err != nil {
			t.Fatal(err)
		}
	}
	return Over(indexer)
}

func TestMatch(t *testing.T) {
	tests := map[string]struct {
		volume *corev1.PersistentVolume
		want   bool
	}{
		"available, and all fits":   {makeVolume(), true},
		"about to become available": {makeVolume(inPhase(corev1.VolumePending)), true},
		"as new as can be":          {makeVolume(inPhase("")), true},
		"the class in the old annotation": {makeVolume(func(volume *corev1.PersistentVolume) {
			volume.Annotations, volume.Spec.StorageClassName = map[string]string{corev1.BetaStorageClassAnnotation: "fast"}, ""
		}), true},
		"a capacity that nobody told":                    {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.Capacity = nil }), true},
		"access modes that nobody told":                  {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.AccessModes = nil }), true},
		"a mode that nobody told":                        {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.VolumeMode = nil }), true},
		"reserved for the claim":                         {makeVolume(claimedBy("data", "")), true},
		"reserved for it, and otherwise unlike":          {makeVolume(claimedBy("data", ""), func(volume *corev1.PersistentVolume) { volume.Spec.StorageClassName = "other" }), true},
		"reserved for a claim of another name":           {makeVolume(claimedBy("other", "")), false},
		"reserved for one that had the name":             {makeVolume(claimedBy("data", "old-uid")), false},
		"bound to the claim, which does not name it yet": {makeVolume(claimedBy("data", "uid"), inPhase(corev1.VolumeBound)), true},
		"bound to one that had the name":                 {makeVolume(claimedBy("data", "old-uid"), inPhase(corev1.VolumeBound)), false},
		"bound to no-one in particular":                  {makeVolume(claimedBy("data", ""), inPhase(corev1.VolumeBound)), false},
		"released by the claim":                          {makeVolume(claimedBy("data", "uid"), inPhase(corev1.VolumeReleased)), false},
		"released by one that had the name":              {makeVolume(claimedBy("data", ""), inPhase(corev1.VolumeReleased)), false},
		"another claim's":                                {makeVolume(claimedBy("other", "uid"), inPhase(corev1.VolumeBound)), false},
		"another class":                                  {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.StorageClassName = "slow" }), false},
		"another mode":                                   {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.VolumeMode = new(corev1.PersistentVolumeBlock) }), false},
		"another attributes class":                       {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.VolumeAttributesClassName = new("gold") }), false},
		"not all access modes": {makeVolume(func(volume *corev1.PersistentVolume) {
			volume.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadOnlyMany}
		}), false},
		"too small": {makeVolume(func(volume *corev1.PersistentVolume) {
			volume.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}
		}), false},
		"being deleted":                         {makeVolume(func(volume *corev1.PersistentVolume) { volume.DeletionTimestamp = deletion() }), false},
		"failed, which only a person can mend":  {makeVolume(inPhase(corev1.VolumeFailed)), false},
		"reserved for the claim, being deleted": {makeVolume(claimedBy("data", ""), func(volume *corev1.PersistentVolume) { volume.DeletionTimestamp = deletion() }), false},
		"reserved for one of another namespace": {makeVolume(func(volume *corev1.PersistentVolume) {
			volume.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "far", Name: "data"}
		}), false},
		"reserved in words that name no-one yet": {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.ClaimRef = &corev1.ObjectReference{} }), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Match(tt.volume, makeClaim()); got != tt.want {
				t.Errorf("matches: %v, want %v", got, tt.want)
			}
			// What the index finds is all that can match.
			if got := indexOf(t, tt.volume).InPlay(makeClaim()) != nil; got != tt.want {
				t.Errorf("found by the index: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTheVolumeThatIsFound(t *testing.T) {
	tests := map[string]struct {
		volumes []*corev1.PersistentVolume
		want    string
	}{
		"none there is":                         {nil, ""},
		"the only one":                          {[]*corev1.PersistentVolume{makeVolume()}, "pv"},
		"the first by name":                     {[]*corev1.PersistentVolume{makeVolume(called("c")), makeVolume(called("a")), makeVolume(called("b"))}, "a"},
		"the first that matches":                {[]*corev1.PersistentVolume{makeVolume(called("b")), makeVolume(called("a"), inPhase(corev1.VolumeFailed))}, "b"},
		"one that is reserved, before others":   {[]*corev1.PersistentVolume{makeVolume(called("a")), makeVolume(called("b"), claimedBy("data", ""))}, "b"},
		"another, if that one is of a namesake": {[]*corev1.PersistentVolume{makeVolume(called("a")), makeVolume(called("b"), claimedBy("data", "old"))}, "a"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := ""
			if volume := indexOf(t, tt.volumes...).InPlay(makeClaim()); volume != nil {
				got = volume.Name
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Volumes leave the indexes when they are used, unless they were there before the claim, so that what is searched stays small.
func TestFewVolumesAreIndexed(t *testing.T) {
	for name, tt := range map[string]struct {
		object              any
		unclaimed, reserved int
	}{
		"available":       {makeVolume(), 1, 0},
		"reserved":        {makeVolume(claimedBy("data", "")), 0, 1},
		"bound":           {makeVolume(claimedBy("data", "uid"), inPhase(corev1.VolumeBound)), 0, 1},
		"provisioned":     {makeVolume(called("pvc-uid"), claimedBy("data", "uid"), inPhase(corev1.VolumeBound)), 0, 0},
		"bound to no-one": {makeVolume(claimedBy("data", ""), inPhase(corev1.VolumeBound)), 0, 0},
		"released":        {makeVolume(claimedBy("data", "uid"), inPhase(corev1.VolumeReleased)), 0, 0},
		"of no class":     {makeVolume(func(volume *corev1.PersistentVolume) { volume.Spec.StorageClassName = "" }), 0, 0},
		"something else":  {makeClaim(), 0, 0},
	} {
		unclaimed, err1 := unclaimedByClass(tt.object)
		reserved, err2 := reservedByClaim(tt.object)
		if err1 != nil || err2 != nil || len(unclaimed) != tt.unclaimed || len(reserved) != tt.reserved {
			t.Errorf("%s: unclaimed %v, %v; reserved %v, %v", name, unclaimed, err1, reserved, err2)
		}
	}
}

func TestPartsOfAProcessShareTheIndexes(t *testing.T) {
	informer := informers.NewSharedInformerFactory(fake.NewClientset(), 0).Core().V1().PersistentVolumes().Informer()
	one, err1 := NewIndex(informer)
	other, err2 := NewIndex(informer)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := informer.GetIndexer().Add(makeVolume()); err != nil {
		t.Fatal(err)
	}
	if one.Get("pv") == nil || one.Get("other") != nil || len(other.Unclaimed("fast")) != 1 || other.InPlay(makeClaim()) == nil {
		t.Error("a volume is not found")
	}
}
