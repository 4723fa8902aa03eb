package datasource

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
)

// namespaceEnabled: giving the source's namespace, even the claim's own, takes the feature gate.
func namespaceEnabled(facts Facts) Verdict {
	if !facts.Reference.CrossNamespace || facts.CrossNamespace {
		return allow()
	}
	return deny(ReasonCrossNamespaceDisabled, fmt.Sprintf(
		"the claim gives a namespace, %q, for its data source: have the feature gate CrossNamespaceVolumeDataSource turned on, "+
			"or make the claim again without spec.dataSourceRef.namespace", facts.Reference.Namespace))
}

// namespaceGranted: the owner of another namespace must let claims of this one refer to the source. One grant is enough.
func namespaceGranted(facts Facts) Verdict {
	reference := facts.Reference
	if !reference.CrossNamespace || reference.Namespace == facts.Claim.Namespace {
		return allow()
	}
	if !facts.GrantsServed {
		return unknown(ReasonGrantsNotServed, fmt.Sprintf(
			"the data source is in another namespace, %q, which takes a ReferenceGrant there, and the cluster has no such API: "+
				"install the ReferenceGrant CRD (gateway.networking.k8s.io/v1beta1)", reference.Namespace))
	}
	if slices.ContainsFunc(facts.Grants, func(grant *gatewayv1beta1.ReferenceGrant) bool {
		return grants(grant, facts.Claim.Namespace, reference)
	}) {
		return allow()
	}
	return deny(ReasonNotGranted, fmt.Sprintf(
		"no ReferenceGrant in namespace %q lets a claim in namespace %q be made from %s: have one made there "+
			"with from {group: %q, kind: %s, namespace: %s} and to {group: %q, kind: %s, name: %s}",
		reference.Namespace, facts.Claim.Namespace, reference,
		corev1.GroupName, kindClaim, facts.Claim.Namespace, reference.Group, reference.ResourceKind, reference.Name))
}

// grants reports whether one grant permits claims of a namespace to refer to a source. A grant covers the namespace it is in, and in it
// all objects of a kind, unless it names one.
func grants(grant *gatewayv1beta1.ReferenceGrant, claims string, reference Reference) bool {
	return grant != nil && grant.Namespace == reference.Namespace &&
		slices.ContainsFunc(grant.Spec.From, func(from gatewayv1beta1.ReferenceGrantFrom) bool {
			return from.Group == corev1.GroupName && from.Kind == kindClaim && string(from.Namespace) == claims
		}) &&
		slices.ContainsFunc(grant.Spec.To, func(to gatewayv1beta1.ReferenceGrantTo) bool {
			return string(to.Group) == reference.Group && string(to.Kind) == reference.ResourceKind &&
				(to.Name == nil || *to.Name == "" || string(*to.Name) == reference.Name)
		})
}
