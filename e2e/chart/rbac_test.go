package chart

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// grant is a right: on which resources, of which names (none: of all), to do what.
type grant struct {
	cluster bool
	rbacv1.PolicyRule
}

// grants are all rights that an account of the release is bound to. A binding that leads nowhere fails the test.
func grants(t *testing.T, objects manifests, account string) []grant {
	t.Helper()
	if objects["ServiceAccount "+account] == nil {
		t.Fatalf("there is no service account %s", account)
	}
	bound := func(subjects []rbacv1.Subject) bool {
		return slices.Contains(subjects, rbacv1.Subject{Kind: "ServiceAccount", Name: account, Namespace: namespace})
	}
	var all []grant
	add := func(cluster bool, rules []rbacv1.PolicyRule) {
		for _, rule := range rules {
			all = append(all, grant{cluster, rule})
		}
	}
	for name, binding := range of[*rbacv1.ClusterRoleBinding](objects) {
		if binding.RoleRef.Name == "system:auth-delegator" { // every cluster has it
			if bound(binding.Subjects) {
				add(true, []rbacv1.PolicyRule{{Resources: []string{"tokenreviews", "subjectaccessreviews"}, Verbs: []string{"create"}}})
			}
			continue
		}
		role, ok := objects["ClusterRole "+binding.RoleRef.Name].(*rbacv1.ClusterRole)
		if !ok {
			t.Fatalf("%s binds nothing", name)
		}
		if bound(binding.Subjects) {
			add(true, role.Rules)
		}
	}
	for name, binding := range of[*rbacv1.RoleBinding](objects) {
		role, ok := objects[strings.Replace(name, "RoleBinding", "Role", 1)].(*rbacv1.Role)
		if !ok || role.Name != binding.RoleRef.Name {
			t.Fatalf("%s binds nothing", name)
		}
		if bound(binding.Subjects) && binding.Namespace == namespace {
			add(false, role.Rules)
		}
	}
	return all
}

// verbs are what may be done to all objects of a resource, and to one of a name.
func verbs(all []grant, cluster bool, resource, name string) string {
	var may []string
	for _, g := range all {
		if g.cluster == cluster && slices.Contains(g.Resources, resource) && (len(g.ResourceNames) == 0 || slices.Contains(g.ResourceNames, name)) {
			may = append(may, g.Verbs...)
		}
	}
	slices.Sort(may)
	return strings.Join(slices.Compact(may), " ")
}

func TestRights(t *testing.T) {
	combined := grants(t, rendered(t, leastValues), "pool-berth")
	split := rendered(t, "testdata/values/split.yaml", apiVersions()...)
	controller, admission := grants(t, split, "pool-berth"), grants(t, split, "pool-berth-admission")
	distributed := rendered(t, "testdata/values/distributed.yaml", apiVersions()...)
	node, apart := grants(t, distributed, "pool-berth"), grants(t, distributed, "pool-berth-admission")
	tests := map[string]struct {
		account  []grant
		cluster  bool
		resource string
		name     string
		want     string
	}{
		"the controller writes volumes":                      {controller, true, "persistentvolumes", "", "create delete get list patch watch"},
		"it patches claims":                                  {controller, true, "persistentvolumeclaims", "", "get list patch watch"},
		"it binds claims":                                    {controller, true, "persistentvolumeclaims/status", "", "patch"},
		"it binds volumes":                                   {controller, true, "persistentvolumes/status", "", "patch"},
		"it reads no Secrets unasked":                        {controller, true, "secrets", "", ""},
		"it has nothing to do with webhooks":                 {controller, true, "mutatingwebhookconfigurations", "pool-berth.storage", ""},
		"nor with the authority":                             {controller, false, "secrets", "pool-csi-example-com-admission", ""},
		"it publishes capacity beside itself":                {controller, false, "csistoragecapacities", "", "create delete get list update watch"},
		"and nowhere else":                                   {controller, true, "csistoragecapacities", "", ""},
		"it has its Lease":                                   {controller, false, "leases", "pool-csi-example-com", "create get update watch"},
		"and no other":                                       {controller, false, "leases", "other", "create"},
		"it has the journal":                                 {controller, false, "configmaps", "", "create get patch"},
		"admission has no use for nodes":                     {admission, true, "nodes", "", ""},
		"admission changes no claims":                        {admission, true, "persistentvolumeclaims", "", "get list watch"},
		"nor volumes":                                        {admission, true, "persistentvolumes", "", "get list watch"},
		"it keeps its webhooks":                              {admission, true, "mutatingwebhookconfigurations", "pool-berth.storage", "list patch watch"},
		"both of those that validate":                        {admission, true, "validatingwebhookconfigurations", "contents.pool-berth.storage", "list patch watch"},
		"and nobody else's":                                  {admission, true, "validatingwebhookconfigurations", "other", ""},
		"it keeps the authority":                             {admission, false, "secrets", "pool-csi-example-com-admission", "create get list update watch"},
		"and reads no other Secret":                          {admission, false, "secrets", "other", "create"},
		"it reads capacity":                                  {admission, true, "csistoragecapacities", "", "list watch"},
		"the controller asks who reads metrics":              {controller, true, "tokenreviews", "", "create"},
		"and so does admission":                              {admission, true, "subjectaccessreviews", "", "create"},
		"nobody asks unless it is turned on":                 {combined, true, "tokenreviews", "", ""},
		"it has a Lease of its own":                          {admission, false, "leases", "pool-csi-example-com-admission", "create get update watch"},
		"and not the controller's":                           {admission, false, "leases", "pool-csi-example-com", "create"},
		"combined keeps webhooks, too":                       {combined, true, "mutatingwebhookconfigurations", "pool-berth.storage", "list patch watch"},
		"combined reads contents for admission":              {combined, true, "volumesnapshotcontents", "", "get list watch"},
		"combined has one Lease":                             {combined, false, "leases", "pool-csi-example-com-admission", "create"},
		"combined protects snapshots that are restored":      {combined, true, "volumesnapshots", "", "get list patch watch"},
		"one node's watches no nodes":                        {node, true, "nodes", "", "get"},
		"nor where drivers are":                              {node, true, "csinodes", "", "get"},
		"it takes claims by patches":                         {node, true, "persistentvolumeclaims", "", "get list patch watch"},
		"it elects nobody":                                   {node, false, "leases", "pool-csi-example-com", ""},
		"it has its journal":                                 {node, false, "configmaps", "", "create get patch"},
		"its Pod owns what it publishes":                     {node, false, "pods", "", "get"},
		"and no ReplicaSet does":                             {node, false, "replicasets", "", ""},
		"it has nothing to do with admission":                {node, false, "secrets", "pool-csi-example-com-admission", ""},
		"admission apart from nodes has a Lease":             {apart, false, "leases", "pool-csi-example-com-admission", "create get update watch"},
		"and keeps the authority":                            {apart, false, "secrets", "pool-csi-example-com-admission", "create get list update watch"},
		"grants are not read unless the gate is on":          {combined, true, "referencegrants", "", ""},
		"owners of the Pod are looked up":                    {combined, false, "replicasets", "", "get"},
		"nobody may touch the CSIDriver":                     {combined, true, "csidrivers", "", ""},
		"events are told wherever claims are":                {combined, true, "events", "", "create patch"},
		"attributes of volumes are read where there are any": {combined, true, "volumeattributesclasses", "", "get list watch"},
	}
	for name, tt := range tests {
		if got := verbs(tt.account, tt.cluster, tt.resource, tt.name); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestRightsAreNeverForEverything(t *testing.T) {
	for mode, values := range modes(t) {
		objects := rendered(t, values, apiVersions()...)
		for name := range of[*corev1.ServiceAccount](objects) {
			for _, g := range grants(t, objects, strings.TrimPrefix(name, "ServiceAccount ")) {
				for _, list := range [][]string{g.Verbs, g.Resources, g.APIGroups} {
					if slices.Contains(list, "*") {
						t.Errorf("%s: %s: %+v", mode, name, g)
					}
				}
			}
		}
	}
}

// TestSecretsAreReadWhereClassesNameThem: by name, in their namespaces.
func TestSecretsAreReadWhereClassesNameThem(t *testing.T) {
	objects := rendered(t, leastValues, "--values", valuesFile(t, "rbac: {secrets: [{namespace: vault, names: [pool]}]}"))
	role, ok := objects["Role secrets.pool-berth.storage in vault"].(*rbacv1.Role)
	if !ok || len(role.Rules) != 1 || !slices.Equal(role.Rules[0].ResourceNames, []string{"pool"}) || !slices.Equal(role.Rules[0].Verbs, []string{"get"}) {
		t.Errorf("the role is %+v", role)
	}
	binding, ok := objects["RoleBinding secrets.pool-berth.storage in vault"].(*rbacv1.RoleBinding)
	if !ok || binding.RoleRef.Name != role.Name || binding.Subjects[0].Name != "pool-berth" || binding.Subjects[0].Namespace != namespace {
		t.Errorf("the binding is %+v", binding)
	}
}

// TestEveryRuleHasAReason: a comment above it says which code needs it.
func TestEveryRuleHasAReason(t *testing.T) {
	all := documents(t, template(t, "helm4", "testdata/values/split.yaml", apiVersions()...))
	for name, text := range documents(t, template(t, "helm4", "testdata/values/distributed.yaml", apiVersions()...)) {
		all[name+", distributed"] = text
	}
	for name, text := range all {
		if !strings.HasPrefix(name, "Role ") && !strings.HasPrefix(name, "ClusterRole ") {
			continue
		}
		_, rules, _ := strings.Cut(text, "\nrules:\n")
		explained := false
		for line := range strings.SplitSeq(rules, "\n") {
			switch {
			case strings.HasPrefix(strings.TrimSpace(line), "#"):
				explained = true
			case strings.HasPrefix(line, "  - apiGroups") && !explained:
				t.Errorf("%s: nothing is said about %s", name, line)
			}
		}
	}
}
