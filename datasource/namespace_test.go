package datasource

import (
	"testing"

	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
)

func grantsAre(grants ...*gatewayv1beta1.ReferenceGrant) func(*Facts) {
	return func(facts *Facts) { facts.Grants = grants }
}

func from(change func(*gatewayv1beta1.ReferenceGrantFrom)) *gatewayv1beta1.ReferenceGrant {
	return makeGrant(func(grant *gatewayv1beta1.ReferenceGrant) { change(&grant.Spec.From[0]) })
}

func to(change func(*gatewayv1beta1.ReferenceGrantTo)) *gatewayv1beta1.ReferenceGrant {
	return makeGrant(func(grant *gatewayv1beta1.ReferenceGrant) { change(&grant.Spec.To[0]) })
}

func named(name gatewayv1beta1.ObjectName) *gatewayv1beta1.ReferenceGrant {
	return to(func(t *gatewayv1beta1.ReferenceGrantTo) { t.Name = &name })
}

func TestAnotherNamespaceTakesTheGateAndAGrant(t *testing.T) {
	denied := "deny ReferenceNotGranted: "
	ownNamespace := func(facts *Facts) {
		facts.Reference.CrossNamespace = true
		facts.CrossNamespace = true
	}
	runJudged(t, Judge, map[string]judged{
		"the gate is off": {fromSnapshot(farAway, func(f *Facts) { f.CrossNamespace = false }),
			"deny CrossNamespaceDisabled: ", []string{`"far"`, "CrossNamespaceVolumeDataSource", "spec.dataSourceRef.namespace"}},
		"the gate is off and the namespace is its own": {fromSnapshot(ownNamespace, func(f *Facts) { f.CrossNamespace = false }),
			"deny CrossNamespaceDisabled: ", nil},
		"its own namespace takes no grant": {fromSnapshot(ownNamespace), "allow", nil},
		"the cluster has no grants": {fromSnapshot(farAway, grantsAre(), func(f *Facts) { f.GrantsServed = false }),
			"unknown ReferenceGrantsNotServed: ", []string{`"far"`, "ReferenceGrant CRD"}},
		"no grant": {fromSnapshot(farAway, grantsAre()), denied, []string{
			`no ReferenceGrant in namespace "far" lets a claim in namespace "ns" be made from VolumeSnapshot far/snap`,
			`from {group: "", kind: PersistentVolumeClaim, namespace: ns}`,
			`to {group: "snapshot.storage.k8s.io", kind: VolumeSnapshot, name: snap}`}},
		"no grant for a clone": {fromClaim(farAwayClone, grantsAre(makeGrant())), denied,
			[]string{`to {group: "", kind: PersistentVolumeClaim, name: source}`}},
		"a grant":                              {fromSnapshot(farAway), "allow", nil},
		"a grant for a clone":                  {fromClaim(farAwayClone), "allow", nil},
		"a grant that names the snapshot":      {fromSnapshot(farAway, grantsAre(named("snap"))), "allow", nil},
		"a grant with an empty name":           {fromSnapshot(farAway, grantsAre(named(""))), "allow", nil},
		"one grant of several":                 {fromSnapshot(farAway, grantsAre(nil, named("other"), makeGrant())), "allow", nil},
		"a grant for another snapshot":         {fromSnapshot(farAway, grantsAre(named("other"))), denied, nil},
		"a grant for another kind":             {fromSnapshot(farAway, grantsAre(to(func(t *gatewayv1beta1.ReferenceGrantTo) { t.Kind = "X" }))), denied, nil},
		"a grant for another group":            {fromSnapshot(farAway, grantsAre(to(func(t *gatewayv1beta1.ReferenceGrantTo) { t.Group = "" }))), denied, nil},
		"a grant to another namespace":         {fromSnapshot(farAway, grantsAre(from(func(f *gatewayv1beta1.ReferenceGrantFrom) { f.Namespace = "x" }))), denied, nil},
		"a grant to another kind":              {fromSnapshot(farAway, grantsAre(from(func(f *gatewayv1beta1.ReferenceGrantFrom) { f.Kind = "Pod" }))), denied, nil},
		"a grant to another group":             {fromSnapshot(farAway, grantsAre(from(func(f *gatewayv1beta1.ReferenceGrantFrom) { f.Group = "x" }))), denied, nil},
		"a grant from some third namespace":    {fromSnapshot(farAway, grantsAre(makeGrant(func(g *gatewayv1beta1.ReferenceGrant) { g.Namespace = "x" }))), denied, nil},
		"a denial does not tell what is there": {fromSnapshot(farAway, grantsAre(), func(f *Facts) { f.Snapshot, f.Content = nil, nil }), denied, nil},
	})
}
