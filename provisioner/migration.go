package provisioner

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	csitranslation "k8s.io/csi-translation-lib"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/topology"
)

// In-tree volumes: some CSI drivers took over the volumes of a driver that was part of Kubernetes (KEP-625). Their classes, claims and
// volumes still speak of the in-tree driver, so a class is translated before anything is decided, and a volume's object when it is
// written and when it is deleted. Between the two everything is CSI's.

// InTreeName is the in-tree driver that a CSI driver took over; empty: none.
func InTreeName(driver string) string {
	name, err := csitranslation.New().GetInTreeNameFromCSIName(driver)
	if err != nil {
		return ""
	}
	return name
}

// translateClass makes a CSI class of an in-tree one; a class of the CSI driver itself, or of somebody else, is returned as it is.
// migratedFrom is the in-tree driver that it was of.
func translateClass(s Settings, class *storagev1.StorageClass) (translated *storagev1.StorageClass, migratedFrom string, err error) {
	if class == nil || s.InTree == "" || class.Provisioner != s.InTree {
		return class, "", nil
	}
	translated, err = csitranslation.New().TranslateInTreeStorageClassToCSI(klog.Background(), s.InTree, class)
	if err != nil {
		return class, s.InTree, fmt.Errorf("storage class %q of in-tree driver %s cannot be translated for %s: %w", class.Name, s.InTree, s.Driver.Name, err)
	}
	translated.Provisioner = s.Driver.Name
	return translated, s.InTree, nil
}

// toInTree makes an in-tree volume's object of a CSI one. The translation makes up a region, and labels of all zones together, which may
// turn out such as no label can be: the API server would refuse the object each time.
func toInTree(pv *corev1.PersistentVolume) (*corev1.PersistentVolume, error) {
	pv, err := csitranslation.New().TranslateCSIPVToInTree(pv)
	if err != nil {
		return nil, err
	}
	if err := topology.ValidateSegment(topology.NewSegment(pv.Labels)); err != nil {
		return nil, fmt.Errorf("labels: %w", err)
	}
	if pv.Spec.NodeAffinity == nil || pv.Spec.NodeAffinity.Required == nil {
		return pv, nil
	}
	for _, term := range pv.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, expression := range term.MatchExpressions {
			for _, value := range expression.Values {
				if err := topology.ValidateSegment(topology.NewSegment(map[string]string{expression.Key: value})); err != nil {
					return nil, fmt.Errorf("node affinity: %w", err)
				}
			}
		}
	}
	return pv, nil
}

// sourceOf is the CSI source of a volume's object: as it stands there, or translated if the object is an in-tree one that was migrated.
// Neither: nil.
func sourceOf(s Settings, pv *corev1.PersistentVolume) *corev1.CSIPersistentVolumeSource {
	if pv.Spec.CSI != nil || s.InTree == "" || !csitranslation.New().IsPVMigratable(pv) {
		return pv.Spec.CSI
	}
	translated, err := csitranslation.New().TranslateInTreePVToCSI(klog.Background(), pv)
	if err != nil || translated.Spec.CSI == nil || translated.Spec.CSI.Driver != s.Driver.Name {
		return nil
	}
	return translated.Spec.CSI
}

// keptHandle is what a stored object keeps of a driver's handle: all of it, but that an in-tree one may lose a part (a GCE PD's the
// project). Where that cannot be told it is the handle itself.
func keptHandle(s Settings, stored *corev1.PersistentVolume, handle string) string {
	if stored.Spec.CSI != nil {
		return handle
	}
	other, err := csitranslation.New().TranslateInTreePVToCSI(klog.Background(), stored)
	if err != nil || other.Spec.CSI == nil {
		return handle
	}
	other.Spec.CSI.VolumeHandle = handle
	if other, err = toInTree(other); err != nil {
		return handle
	}
	source := sourceOf(s, other)
	if source == nil {
		return handle
	}
	return source.VolumeHandle
}
