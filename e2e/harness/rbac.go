package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BerthNamespace is where Berth's service accounts and leases live.
const BerthNamespace = "berth-system"

// BerthRules are the rights of the Berth of a service account, in the cluster and in its own namespace: those that the chart grants with all features on, which
// a test compares.
func BerthRules(account string) (cluster, namespace []rbacv1.PolicyRule) {
	return clusterRules(account), namespaceRules(account)
}

// clusterRules are all that the Berth of a service account may do in the whole cluster. A test that fails because of a missing rule has found a
// right that operators would have to grant: add it here only together with the role that ships.
func clusterRules(account string) []rbacv1.PolicyRule {
	mutate, validate, contents := configurations(account)
	return []rbacv1.PolicyRule{
		// Writes the volume it created, adds and takes off its finalizer, removes what is deleted.
		rule("", "persistentvolumes", "get", "list", "watch", "create", "patch", "delete"),
		// Reads claims; patches away the selected node when it gives a claim back to the scheduler.
		rule("", "persistentvolumeclaims", "get", "list", "watch", "patch"),
		// Binds claims to their volumes, where it may.
		rule("", "persistentvolumes/status", "patch"),
		rule("", "persistentvolumeclaims/status", "patch"),
		// What a claim asks for.
		rule("storage.k8s.io", "storageclasses", "get", "list", "watch"),
		// Which nodes have the driver, and the topology keys it uses.
		rule("storage.k8s.io", "csinodes", "get", "list", "watch"),
		// The values of those keys.
		rule("", "nodes", "get", "list", "watch"),
		// A volume that is still attached is not deleted.
		rule("storage.k8s.io", "volumeattachments", "list", "watch"),
		// Says on the claim what became of it; patch counts the repetitions of an event.
		rule("", "events", "create", "patch"),
		// What a class has the driver called with.
		rule("", "secrets", "get"),
		// What a claim wants to be changeable later.
		rule("storage.k8s.io", "volumeattributesclasses", "get", "list", "watch"),
		// What a claim is restored from, and the finalizer that keeps it there meanwhile.
		rule("snapshot.storage.k8s.io", "volumesnapshots", "get", "list", "watch", "patch"),
		rule("snapshot.storage.k8s.io", "volumesnapshotcontents", "get", "list", "watch"),
		// Whether a claim may be made from something in another namespace.
		rule("gateway.networking.k8s.io", "referencegrants", "list", "watch"),
		// Where there is room, for admission's hints.
		rule("storage.k8s.io", "csistoragecapacities", "list", "watch"),
		// Whom API servers trust that call the webhooks, and for which classes they do.
		named(rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "list", "watch", "patch"), mutate),
		named(rule("admissionregistration.k8s.io", "validatingwebhookconfigurations", "list", "watch", "patch"), validate, contents),
	}
}

// namespaceRules are what the Berth of a service account may do in its own namespace.
func namespaceRules(account string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		// Leader election.
		rule("coordination.k8s.io", "leases", "get", "watch", "create", "update"),
		// The journal of what is about to be created.
		rule("", "configmaps", "get", "create", "patch"),
		// The authority of admission's certificates. A creation has no name that could be compared.
		named(rule("", "secrets", "get", "list", "watch", "update"), authoritySecret(account)),
		rule("", "secrets", "create"),
		// What the scheduler is told of the room there is.
		rule("storage.k8s.io", "csistoragecapacities", "get", "list", "watch", "create", "update", "delete"),
		// Whose that is, so that it goes with the rest.
		rule("", "pods", "get"),
		rule("apps", "replicasets", "get"),
	}
}

func rule(group, resource string, verbs ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
}

// named limits a rule to objects of these names.
func named(rule rbacv1.PolicyRule, names ...string) rbacv1.PolicyRule {
	rule.ResourceNames = names
	return rule
}

// BerthMay says whether the rights of Berth include what a request was for.
func BerthMay(request *AuditEvent) bool {
	object := request.ObjectRef
	resource := object.Resource
	if object.Subresource != "" {
		resource += "/" + object.Subresource
	}
	account := request.User.Username[strings.LastIndexByte(request.User.Username, ':')+1:]
	rules := clusterRules(account)
	if object.Namespace == BerthNamespace {
		rules = append(rules, namespaceRules(account)...)
	}
	return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
		return slices.Contains(rule.APIGroups, object.APIGroup) &&
			slices.Contains(rule.Resources, resource) && slices.Contains(rule.Verbs, request.Verb) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, object.Name))
	})
}

// BerthAccount creates a service account with the rights of Berth, if there is none of that name, and returns a
// kubeconfig for it.
func BerthAccount(ctx context.Context, c *ControlPlane, name string) (string, error) {
	return ensureAccount(ctx, c, name, clusterRules(name), namespaceRules(name))
}

// NodeAccount is BerthAccount for the Berth of one node in distributed mode, with the rights of the chart's DaemonSet.
func NodeAccount(ctx context.Context, c *ControlPlane, name string) (string, error) {
	return ensureAccount(ctx, c, name, nodeClusterRules(), nodeNamespaceRules())
}

func ensureAccount(ctx context.Context, c *ControlPlane, name string, cluster, local []rbacv1.PolicyRule) (string, error) {
	if err := createAccount(ctx, c, name, cluster, local); err != nil {
		return "", fmt.Errorf("service account %s/%s: %w", BerthNamespace, name, err)
	}
	return c.ServiceAccountKubeconfig(ctx, BerthNamespace, name)
}

func createAccount(ctx context.Context, c *ControlPlane, name string, clusterRules, localRules []rbacv1.PolicyRule) error {
	core, rbac := c.Client().CoreV1(), c.Client().RbacV1()
	meta := metav1.ObjectMeta{Name: name}
	local := metav1.ObjectMeta{Name: name, Namespace: BerthNamespace}
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: BerthNamespace, Name: name}}

	_, err := core.Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: BerthNamespace}}, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return err
	}
	_, err = core.ServiceAccounts(BerthNamespace).Create(ctx,
		&corev1.ServiceAccount{ObjectMeta: local}, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return err
	}
	_, err = rbac.ClusterRoles().Create(ctx,
		&rbacv1.ClusterRole{ObjectMeta: meta, Rules: clusterRules}, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return err
	}
	_, err = rbac.ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, Subjects: subjects, RoleRef: roleRef("ClusterRole", name),
	}, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return err
	}
	_, err = rbac.Roles(BerthNamespace).Create(ctx,
		&rbacv1.Role{ObjectMeta: local, Rules: localRules}, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return err
	}
	_, err = rbac.RoleBindings(BerthNamespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: local, Subjects: subjects, RoleRef: roleRef("Role", name),
	}, metav1.CreateOptions{})
	return unlessExists(err)
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func unlessExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
