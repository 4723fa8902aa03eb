//go:build e2e

package e2e

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-csi/berth/e2e/harness"
)

// Stories run with exactly the rights that the chart grants (TestStoriesHaveTheRightsOfTheChart). At the end the audit logs of all control planes
// have to show no request that those would not allow, and each right in use: one that is never used is one that administrators grant for nothing.

// A right is one verb on one kind of resource.
type right struct {
	everywhere bool // in the whole cluster, not in Berth's namespace only
	group      string
	resource   string // with the subresource
	verb       string
}

func (r right) String() string {
	where := "in Berth's namespace"
	if r.everywhere {
		where = "in the cluster"
	}
	return fmt.Sprintf("%s %s %s", r.verb, strings.Trim(r.group+"/"+r.resource, "/"), where)
}

// unusedRights are those that no story needs, with the reason why they are granted.
func unusedRights() map[right]string {
	return map[right]string{
		{false, "coordination.k8s.io", "leases", "get"}:   "used, but the audit log leaves out who reads leases",
		{false, "coordination.k8s.io", "leases", "watch"}: "used, but the audit log leaves out who reads leases",
	}
}

// rightsAsked collects what the stories' Berths have asked for. TestMain has no other way to get at it.
var rightsAsked = &askedRights{used: map[right]bool{}, refused: map[string]bool{}}

type askedRights struct {
	mu      sync.Mutex
	used    map[right]bool
	refused map[string]bool // what no rule grants, in words
}

// collect reads a control plane's audit log. (An API server that has just been started refuses everything for a moment, until it has read the
// roles; and some stories take rights away.)
func (a *askedRights) collect(c *harness.ControlPlane) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := c.Audit(func(event *harness.AuditEvent) bool {
		if !isBerth(event.User.Username) {
			return false
		}
		asked := right{
			everywhere: event.ObjectRef.Namespace != harness.BerthNamespace, group: event.ObjectRef.APIGroup,
			resource: path.Join(event.ObjectRef.Resource, event.ObjectRef.Subresource), verb: event.Verb,
		}
		switch {
		case event.ResponseStatus.Code != http.StatusForbidden:
			a.used[asked] = true
		case !harness.BerthMay(event):
			a.refused[fmt.Sprintf("%s may not %s", event.User.Username, asked)] = true
		}
		return false
	})
	return err
}

// problems is an error if somebody was refused what the rules do not grant and, after all stories have run, if a rule grants what nobody has
// asked for.
func (a *askedRights) problems(allStories bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for refused := range a.refused {
		errs = append(errs, errors.New(refused))
	}
	if allStories {
		errs = append(errs, a.unused()...)
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (a *askedRights) unused() []error {
	var errs []error
	reasons := unusedRights()
	for _, granted := range storyRights() {
		needed := granted
		if needed.verb == "list" {
			// Whoever watches has to list where API servers do not stream what there is as the beginning of a watch, as these do.
			needed.verb = "watch"
		}
		if _, excepted := reasons[granted]; !a.used[granted] && !a.used[needed] && !excepted {
			errs = append(errs, fmt.Errorf("the chart grants %s, and no story has used it: take it away, or say in unusedRights why it is granted", granted))
		}
	}
	for granted, reason := range reasons {
		if a.used[granted] {
			errs = append(errs, fmt.Errorf("%s is used: take it out of unusedRights (%s)", granted, reason))
		}
	}
	return errs
}

// allStoriesRun reports whether nobody chose some.
func allStoriesRun() bool {
	for _, name := range []string{"test.run", "test.skip"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// storyRights are those that the stories' Berths have.
func storyRights() []right {
	cluster, namespace := harness.BerthRules("berth-story")
	return rightsOf(cluster, namespace)
}

// rightsOf takes rules apart. Names of objects are left out: they are compared by other tests.
func rightsOf(cluster, namespace []rbacv1.PolicyRule) []right {
	var all []right
	for everywhere, rules := range map[bool][]rbacv1.PolicyRule{true: cluster, false: namespace} {
		for _, rule := range rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						all = append(all, right{everywhere, group, resource, verb})
					}
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b right) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// TestStoriesHaveTheRightsOfTheChart: with everything on that takes rights, the chart grants what the stories' Berths have, and no more.
func TestStoriesHaveTheRightsOfTheChart(t *testing.T) {
	t.Parallel()
	helm, err := harness.Binary("helm4")
	must(t, err)
	command := exec.CommandContext(t.Context(), helm, "template", "pool", chart, "--namespace", harness.BerthNamespace,
		"--set=driver.name=pool.csi.example.com", "--set=driver.image.repository=example/pool",
		"--set=rbac.allSecrets=true", "--set=featureGates.CrossNamespaceVolumeDataSource=true", "--set=capacity.ownerrefLevel=2")
	rendered, err := command.Output()
	must(t, err)
	var cluster, namespace []rbacv1.PolicyRule
	for document := range strings.SplitSeq(string(rendered), "\n---\n") {
		var role rbacv1.ClusterRole // a Role has the same fields
		must(t, yaml.Unmarshal([]byte(document), &role))
		switch role.Kind {
		case "ClusterRole":
			cluster = append(cluster, role.Rules...)
		case "Role":
			namespace = append(namespace, role.Rules...)
		}
	}
	granted, had := rightsOf(cluster, namespace), storyRights()
	if len(granted) == 0 {
		t.Fatal("the chart grants nothing")
	}
	for _, right := range granted {
		if !slices.Contains(had, right) {
			t.Errorf("the chart grants %s, which the stories have not", right)
		}
	}
	for _, right := range had {
		if !slices.Contains(granted, right) {
			t.Errorf("the stories have %s, which the chart does not grant", right)
		}
	}
}
