package harness

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// StorageClass of a driver: Immediate binding, reclaim policy Delete. Each edit states what a story has different.
func StorageClass(name, driver string, edits ...func(*storagev1.StorageClass)) *storagev1.StorageClass {
	class := &storagev1.StorageClass{
		ObjectMeta:        metav1.ObjectMeta{Name: name},
		Provisioner:       driver,
		ReclaimPolicy:     new(corev1.PersistentVolumeReclaimDelete),
		VolumeBindingMode: new(storagev1.VolumeBindingImmediate),
	}
	for _, edit := range edits {
		edit(class)
	}
	return class
}

// WaitForFirstConsumer is an edit of StorageClass.
func WaitForFirstConsumer(class *storagev1.StorageClass) {
	class.VolumeBindingMode = new(storagev1.VolumeBindingWaitForFirstConsumer)
}

// Retain is an edit of StorageClass.
func Retain(class *storagev1.StorageClass) {
	class.ReclaimPolicy = new(corev1.PersistentVolumeReclaimRetain)
}

// AllowedTopologies is an edit of StorageClass: volumes only where the key has one of the values.
func AllowedTopologies(key string, values ...string) func(*storagev1.StorageClass) {
	return func(class *storagev1.StorageClass) {
		class.AllowedTopologies = append(class.AllowedTopologies, corev1.TopologySelectorTerm{
			MatchLabelExpressions: []corev1.TopologySelectorLabelRequirement{{Key: key, Values: values}},
		})
	}
}

// Claim for one GiB of a class, ReadWriteOnce, with a file system.
func Claim(namespace, name, class string, edits ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			VolumeMode:       new(corev1.PersistentVolumeFilesystem),
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	for _, edit := range edits {
		edit(claim)
	}
	return claim
}

// Size is an edit of Claim.
func Size(quantity string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(quantity)
	}
}

// Annotation is an edit of Claim.
func Annotation(key, value string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) { metav1.SetMetaDataAnnotation(&claim.ObjectMeta, key, value) }
}

// Block is an edit of Claim.
func Block(claim *corev1.PersistentVolumeClaim) {
	claim.Spec.VolumeMode = new(corev1.PersistentVolumeBlock)
}

// Pod that mounts a claim. Nothing runs it; the scheduler places it all the same.
func Pod(namespace, name, claim string, edits ...func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false),
			Containers: []corev1.Container{{
				Name:         "main",
				Image:        "example.invalid/none",
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			Volumes: []corev1.Volume{{
				Name: "data",
				VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
				},
			}},
		},
	}
	for _, edit := range edits {
		edit(pod)
	}
	return pod
}

// OnNodesWith is an edit of Pod.
func OnNodesWith(key, value string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Spec.NodeSelector = map[string]string{key: value} }
}

// Shelf is a volume that somebody made by hand: of no driver that is there, for no claim, large enough for Claim. It stays when it is released.
func Shelf(name, class string, edits ...func(*corev1.PersistentVolume)) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("5Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{
				Driver: "by-hand.csi.example.com", VolumeHandle: name,
			}},
		},
	}
	for _, edit := range edits {
		edit(volume)
	}
	return volume
}

// NodeSpec describes a machine that no kubelet stands for.
type NodeSpec struct {
	Name string
	// Driver that runs on it, with the topology keys it registered: those of Labels.
	Driver string
	// Labels of the topology, as the kubelet would copy them from NodeGetInfo.
	Labels map[string]string
	// MaxVolumes the driver can attach; 0 is no limit.
	MaxVolumes int32
}

// Node is the machine as the scheduler sees it: ready, with room for Pods.
func Node(spec NodeSpec) *corev1.Node {
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods:   resource.MustParse("1000"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: spec.Name, Labels: spec.Labels},
		Status: corev1.NodeStatus{
			Capacity:    room,
			Allocatable: room,
			Conditions:  []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// CSINode says that the driver runs on the machine.
func CSINode(spec NodeSpec) *storagev1.CSINode {
	driver := storagev1.CSINodeDriver{Name: spec.Driver, NodeID: spec.Name}
	for key := range spec.Labels {
		driver.TopologyKeys = append(driver.TopologyKeys, key)
	}
	if spec.MaxVolumes > 0 {
		driver.Allocatable = &storagev1.VolumeNodeResources{Count: &spec.MaxVolumes}
	}
	return &storagev1.CSINode{
		ObjectMeta: metav1.ObjectMeta{Name: spec.Name},
		Spec:       storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{driver}},
	}
}

// CreateNode creates the Node and the CSINode of a machine.
func CreateNode(ctx context.Context, client kubernetes.Interface, spec NodeSpec) error {
	_, err := client.CoreV1().Nodes().Create(ctx, Node(spec), metav1.CreateOptions{})
	if err == nil {
		_, err = client.StorageV1().CSINodes().Create(ctx, CSINode(spec), metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("create node %s: %w", spec.Name, err)
	}
	return nil
}

// CreateNamespace creates a namespace and what a Pod in it needs: the default service account, which no controller
// creates here.
func CreateNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	_, err := client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err == nil {
		_, err = client.CoreV1().ServiceAccounts(name).Create(ctx,
			&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		err = unlessExists(err)
	}
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return nil
}
