package harness

import rbacv1 "k8s.io/api/rbac/v1"

// nodeClusterRules are all that the Berth of one node may do in the whole cluster: it watches no nodes, and does not serve webhooks.
func nodeClusterRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		// Writes the volume it created, adds and takes off its finalizer, removes what is deleted.
		rule("", "persistentvolumes", "get", "list", "watch", "create", "patch", "delete"),
		// Reads claims; takes one for its node, and gives it back.
		rule("", "persistentvolumeclaims", "get", "list", "watch", "patch"),
		// Binds claims to their volumes.
		rule("", "persistentvolumes/status", "patch"),
		rule("", "persistentvolumeclaims/status", "patch"),
		// What a claim asks for.
		rule("storage.k8s.io", "storageclasses", "get", "list", "watch"),
		// Its own node, whose its journal is; and one at a time, whether the driver is on a node that a claim has waited for.
		rule("storage.k8s.io", "csinodes", "get"),
		rule("", "nodes", "get"),
		// A volume that is still attached is not deleted.
		rule("storage.k8s.io", "volumeattachments", "get", "list", "watch"),
		// Says on the claim what became of it; patch counts the repetitions of an event.
		rule("", "events", "create", "patch"),
		// What a class has the driver called with.
		rule("", "secrets", "get"),
		// What a claim wants to be changeable later.
		rule("storage.k8s.io", "volumeattributesclasses", "get"),
		// What a claim is restored from, and the finalizer that keeps it there meanwhile.
		rule("snapshot.storage.k8s.io", "volumesnapshots", "get", "list", "watch", "patch"),
		rule("snapshot.storage.k8s.io", "volumesnapshotcontents", "get"),
	}
}

// nodeNamespaceRules are what it may do in its own namespace.
func nodeNamespaceRules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		// The journal of what is about to be created.
		rule("", "configmaps", "get", "create", "patch"),
		// What the scheduler is told of the room there is.
		rule("storage.k8s.io", "csistoragecapacities", "get", "list", "watch", "create", "update", "delete"),
		// Whose that is, so that it goes with the rest.
		rule("", "pods", "get"),
	}
}
