package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "uid", ResourceVersion: "7",
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		Labels:        map[string]string{"zone": "a"},
		Annotations:   map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "volume.kubernetes.io/selected-node": "n"}}
}

func trimmed(t *testing.T, transform cache.TransformFunc, object any) any {
	t.Helper()
	got, err := transform(object)
	if err != nil {
		t.Fatal(err)
	}
	again, err := transform(got) // informers may run it twice
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("trimming twice is not trimming once: %s", diff)
	}
	return got
}

func affinity(zone string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
		{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}}}}}}
}

func TestWhatVolumesHaveInCommonIsThereOnce(t *testing.T) {
	same := newShared()
	if one, other := same.affinity(affinity("a")), same.affinity(affinity("a")); one != other {
		t.Error("two that are equal are kept")
	}
	if got := same.affinity(affinity("b")); cmp.Diff(affinity("b"), got) != "" || same.affinity(nil) != nil {
		t.Errorf("got %v", got)
	}
	list := corev1.ResourceList{"storage": resource.MustParse("1Gi")}
	same.capacity(list)["mark"] = resource.MustParse("1")
	if len(same.capacity(corev1.ResourceList{"storage": resource.MustParse("1024Mi")})) != 2 || same.capacity(nil) != nil {
		t.Error("two that are equal are kept")
	}
	if got := same.capacity(corev1.ResourceList{"storage": resource.MustParse("2Gi")})["storage"]; got.String() != "2Gi" {
		t.Errorf("got %s", got.String())
	}
}

// TestWhatObjectsHaveInCommonIsThereOnce: annotations and finalizers of volumes, labels of nodes, word by word.
func TestWhatObjectsHaveInCommonIsThereOnce(t *testing.T) {
	trim := Trim("driver.example", "")
	volume := func(name string) *corev1.PersistentVolume {
		made := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{"by": strings.Clone("driver.example")}, Finalizers: []string{"one", "two"},
		}}
		made.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: "driver.example", VolumeHandle: name}
		made.Spec.StorageClassName = strings.Clone("fast")
		trimmed, err := trim(made)
		if err != nil {
			t.Fatal(err)
		}
		return trimmed.(*corev1.PersistentVolume)
	}
	a, b := volume("a"), volume("b")
	if reflect.ValueOf(a.Annotations).Pointer() != reflect.ValueOf(b.Annotations).Pointer() {
		t.Error("the annotations are there twice")
	}
	if unsafe.SliceData(a.Finalizers) != unsafe.SliceData(b.Finalizers) {
		t.Error("the finalizers are there twice")
	}
	if unsafe.StringData(a.Spec.StorageClassName) != unsafe.StringData(b.Spec.StorageClassName) {
		t.Error("the class's name is there twice")
	}
	node := func(name string) *corev1.Node {
		trimmed, err := trim(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": strings.Clone("z1"), "host": name}}})
		if err != nil {
			t.Fatal(err)
		}
		return trimmed.(*corev1.Node)
	}
	x, y := node("x"), node("y")
	if x.Labels["host"] != "x" || y.Labels["host"] != "y" {
		t.Errorf("the labels are %v and %v", x.Labels, y.Labels)
	}
	if unsafe.StringData(x.Labels["zone"]) != unsafe.StringData(y.Labels["zone"]) {
		t.Error("the zone is there twice")
	}
}

// TestTablesDoNotGrowForever: what is nobody else's is forgotten again.
func TestTablesDoNotGrowForever(t *testing.T) {
	same := newShared()
	for n := range 3 * longLimit {
		all := map[string]string{"own": fmt.Sprint(n)}
		if got := same.labels(all); got["own"] != all["own"] {
			t.Fatalf("got %v for %v", got, all)
		}
	}
	if n := len(same.annotations); n > longLimit {
		t.Errorf("the table has %d entries", n)
	}
}

func TestTrim(t *testing.T) {
	class, mode := "fast", corev1.PersistentVolumeBlock
	pending := corev1.PersistentVolumeClaimSpec{StorageClassName: &class, VolumeMode: &mode, AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}}
	bound := pending
	bound.VolumeName = "pv"
	slim := metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "uid", ResourceVersion: "7"}
	annotated := slim
	annotated.Annotations = map[string]string{"volume.kubernetes.io/selected-node": "n"}
	volumeMeta := annotated
	volumeMeta.Finalizers = []string{"f"}
	volume := func(driver string) *corev1.PersistentVolume {
		pv := &corev1.PersistentVolume{ObjectMeta: meta("x"), Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound, Message: "m"}}
		pv.Finalizers = []string{"f"}
		pv.Spec = corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{"storage": resource.MustParse("1Gi"), "else": resource.MustParse("1")},
			NodeAffinity:                  affinity("a"),
			MountOptions:                  []string{"ro"},
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "n", Name: "c", UID: "u"},
			StorageClassName:              "fast",
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: driver, VolumeHandle: "h", VolumeAttributes: map[string]string{"k": "v"}}},
		}
		return pv
	}
	ref := &corev1.ObjectReference{Namespace: "n", Name: "c", UID: "u"}
	unclaimed := volume("other")
	unclaimed.Annotations[corev1.BetaStorageClassAnnotation] = "old"
	unclaimed.Spec.ClaimRef, unclaimed.Status.Phase = nil, corev1.VolumeAvailable
	unclaimed.Spec.AccessModes, unclaimed.Spec.VolumeMode, unclaimed.Spec.VolumeAttributesClassName = pending.AccessModes, &mode, &class
	unclaimed.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi"), corev1.ResourceCPU: resource.MustParse("1")}
	pvName := "pv"
	tests := map[string]struct{ in, want any }{
		"a pending claim keeps its spec": {&corev1.PersistentVolumeClaim{ObjectMeta: meta("x"), Spec: pending},
			&corev1.PersistentVolumeClaim{ObjectMeta: annotated, Spec: pending}},
		"a bound claim is little": {&corev1.PersistentVolumeClaim{ObjectMeta: meta("x"), Spec: bound},
			&corev1.PersistentVolumeClaim{ObjectMeta: slim, Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv", StorageClassName: &class}}},
		"our volume keeps what deletion needs": {volume("driver"), &corev1.PersistentVolume{ObjectMeta: volumeMeta,
			Spec: corev1.PersistentVolumeSpec{ClaimRef: ref, StorageClassName: "fast", PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
				Capacity: corev1.ResourceList{"storage": resource.MustParse("1Gi")}, NodeAffinity: affinity("a"),
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "driver", VolumeHandle: "h"}}},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}}},
		"another driver's volume is hardly there": {volume("other"), &corev1.PersistentVolume{ObjectMeta: slim, Spec: corev1.PersistentVolumeSpec{ClaimRef: ref},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound}}},
		"a volume that no claim has keeps what claims are matched by": {unclaimed, &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "uid", ResourceVersion: "7", Annotations: map[string]string{corev1.BetaStorageClassAnnotation: "old"}},
			Spec: corev1.PersistentVolumeSpec{StorageClassName: "fast", AccessModes: pending.AccessModes, VolumeMode: &mode, VolumeAttributesClassName: &class,
				Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}},
		"a node is its labels": {&corev1.Node{ObjectMeta: meta("x"), Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{}}}},
			&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "uid", ResourceVersion: "7", Labels: map[string]string{"zone": "a"}}}},
		"a CSINode is our driver": {&storagev1.CSINode{ObjectMeta: meta("x"), Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{
			{Name: "other"}, {Name: "driver", NodeID: "id", TopologyKeys: []string{"zone"}}}}},
			&storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "uid", ResourceVersion: "7"},
				Spec: storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "driver", NodeID: "id", TopologyKeys: []string{"zone"}}}}}},
		"an attachment is who has what": {&storagev1.VolumeAttachment{ObjectMeta: meta("x"), Spec: storagev1.VolumeAttachmentSpec{
			Attacher: "a", NodeName: "n", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pvName}}},
			&storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "uid", ResourceVersion: "7"},
				Spec: storagev1.VolumeAttachmentSpec{NodeName: "n", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pvName}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, trimmed(t, Trim("driver", "in-tree"), tt.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTrimForAdmission(t *testing.T) {
	class, mode := "fast", corev1.PersistentVolumeBlock
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	affinity := &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{}}
	withClass := func(meta metav1.ObjectMeta) metav1.ObjectMeta {
		meta.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: class, "other": "x"}
		return meta
	}
	slim := metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "uid", ResourceVersion: "7"}
	slimWithClass := slim
	slimWithClass.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: class}
	ours := meta("x")
	ours.Annotations = nil
	volume := func(meta metav1.ObjectMeta, driver string, ref *corev1.ObjectReference) *corev1.PersistentVolume {
		pv := &corev1.PersistentVolume{ObjectMeta: meta, Spec: corev1.PersistentVolumeSpec{
			ClaimRef: ref, StorageClassName: class, AccessModes: modes, VolumeMode: &mode, Capacity: size, NodeAffinity: affinity,
			VolumeAttributesClassName: &class, MountOptions: []string{"ro"},
		}, Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}}
		if driver != "" {
			pv.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "h"}
		}
		return pv
	}
	ref := func() *corev1.ObjectReference { return &corev1.ObjectReference{Namespace: "n", Name: "c", UID: "u"} }
	candidate := corev1.PersistentVolumeSpec{
		StorageClassName: class, AccessModes: modes, VolumeMode: &mode, Capacity: size, VolumeAttributesClassName: &class,
	}
	ourCandidate := candidate
	ourCandidate.NodeAffinity = affinity
	ourCandidate.CSI = &corev1.CSIPersistentVolumeSource{Driver: "driver", VolumeHandle: "h"}
	available := corev1.PersistentVolumeStatus{Phase: corev1.VolumeAvailable}
	tests := map[string]struct{ in, want any }{
		"a bound claim keeps what a clone of it is compared with": {
			&corev1.PersistentVolumeClaim{ObjectMeta: withClass(meta("x")), Spec: corev1.PersistentVolumeClaimSpec{
				VolumeName: "pv", VolumeMode: &mode, AccessModes: modes, Resources: corev1.VolumeResourceRequirements{Requests: size, Limits: size}}},
			&corev1.PersistentVolumeClaim{ObjectMeta: slimWithClass, Spec: corev1.PersistentVolumeClaimSpec{
				VolumeName: "pv", VolumeMode: &mode, Resources: corev1.VolumeResourceRequirements{Requests: size}}}},
		"any driver's volume that nobody has is a candidate": {volume(withClass(meta("x")), "other", nil),
			&corev1.PersistentVolume{ObjectMeta: slimWithClass, Spec: candidate, Status: available}},
		"and so is one that no driver made": {volume(meta("x"), "", nil), &corev1.PersistentVolume{ObjectMeta: slim, Spec: candidate, Status: available}},
		"a volume that somebody has is who has it": {volume(withClass(meta("x")), "other", ref()),
			&corev1.PersistentVolume{ObjectMeta: slim, Spec: corev1.PersistentVolumeSpec{ClaimRef: ref()}, Status: available}},
		"our candidate": {volume(ours, "driver", nil), &corev1.PersistentVolume{ObjectMeta: slim, Spec: ourCandidate, Status: available}},
		"our volume that somebody has keeps its place and mode": {volume(ours, "driver", ref()), &corev1.PersistentVolume{ObjectMeta: slim,
			Spec: corev1.PersistentVolumeSpec{ClaimRef: ref(), StorageClassName: class, VolumeMode: &mode, NodeAffinity: affinity, Capacity: size,
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: ourCandidate.CSI}}, Status: available}},
		"a capacity is whole but for its managers": {
			&storagev1.CSIStorageCapacity{ObjectMeta: meta("x"), StorageClassName: class, Capacity: new(resource.MustParse("1Gi"))},
			&storagev1.CSIStorageCapacity{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "x", UID: "uid", ResourceVersion: "7",
				Labels: meta("x").Labels, Annotations: meta("x").Annotations}, StorageClassName: class, Capacity: new(resource.MustParse("1Gi"))}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, trimmed(t, TrimForAdmission("driver", "in-tree"), tt.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "kubeconfig")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c"}}],"clusters":[{"name":"c","cluster":{"server":"https://127.0.0.1:1"}}]}`)
	tests := map[string]struct {
		access Access
		host   string
		err    string
	}{
		"a kubeconfig":              {Access{Kubeconfig: good}, "https://127.0.0.1:1", ""},
		"a master that overrides":   {Access{Kubeconfig: good, Master: "https://127.0.0.1:2"}, "https://127.0.0.1:2", ""},
		"no such file":              {Access{Kubeconfig: "/nowhere"}, "", `kubeconfig "/nowhere"`},
		"a file that doesn't parse": {Access{Kubeconfig: write("{")}, "", "kubeconfig"},
		"nothing, outside a Pod":    {Access{}, "", "no --kubeconfig given, and not running in a Pod"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.access.Config()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Host != tt.host || got.QPS != -1 || got.ContentType != "application/vnd.kubernetes.protobuf" {
				t.Errorf("got host %s, QPS %v, %s", got.Host, got.QPS, got.ContentType)
			}
		})
	}
	limited, err := Access{Kubeconfig: good, QPS: 5, Burst: 10}.Config()
	if err != nil || limited.QPS != 5 || limited.Burst != 10 {
		t.Errorf("got %v, %v", limited, err)
	}
}
