package topology

import (
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/client-go/tools/cache"
)

// NodeEvents feeds the index from an informer of Nodes.
func (x *Index) NodeEvents() cache.ResourceEventHandler {
	set := func(object any) {
		if node, ok := object.(*corev1.Node); ok {
			x.SetNode(node.Name, node.Labels)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, after any) { set(after) },
		DeleteFunc: func(object any) { withName(object, x.DeleteNode) },
	}
}

// CSINodeEvents feeds the index from an informer of CSINodes, with what they say about the given driver.
func (x *Index) CSINodeEvents(driver string) cache.ResourceEventHandler {
	set := func(object any) {
		node, ok := object.(*storagev1.CSINode)
		if !ok {
			return
		}
		for _, d := range node.Spec.Drivers {
			if d.Name == driver {
				x.SetRegistration(node.Name, NewKeySet(d.TopologyKeys))
				return
			}
		}
		x.DeleteRegistration(node.Name)
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, after any) { set(after) },
		DeleteFunc: func(object any) { withName(object, x.DeleteCSINode) },
	}
}

// withName calls f with the name of a deleted object, of which an informer may only know the key.
func withName(object any, f func(name string)) {
	if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
		f(key)
	}
}
