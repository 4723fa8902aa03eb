package main

import (
	storagev1 "k8s.io/api/storage/v1"
)

// secretKinds are what a class can name a secret for.
var secretKinds = []string{
	"provisioner", "controller-publish", "node-stage", "node-publish", "controller-expand", "node-expand", "controller-modify",
}

// secretPair names a secret of a kind; the empty kind is the default for all others.
func secretPair(kind, name, namespace string) func(*storagev1.StorageClass) {
	if kind != "" {
		kind += "-"
	}
	prefix := "csi.storage.k8s.io/" + kind + "secret-"
	return parameters(prefix+"name", name, prefix+"namespace", namespace)
}

const (
	provisionerSecretName      = "csi.storage.k8s.io/provisioner-secret-name"
	provisionerSecretNamespace = "csi.storage.k8s.io/provisioner-secret-namespace"
	nodeStageSecretName        = "csi.storage.k8s.io/node-stage-secret-name"
)

func secretCases() []testCase {
	var cases []testCase
	for _, kind := range secretKinds {
		cases = append(cases, testCase{
			name: "secret, " + kind, with: []ingredient{secret("credentials", "user", "password")},
			class: classOf(secretPair(kind, "credentials", thisNamespace), parameters("tier", "gold")),
		})
	}
	one := []ingredient{secret("credentials", "user", "password")}
	two := []ingredient{secret("credentials", "user"), secret("special", "token")}
	return append(cases, []testCase{
		{name: "secret for everything", with: one, class: classOf(secretPair("", "credentials", thisNamespace))},
		{
			name: "secret for everything, another for one", with: two,
			class: classOf(secretPair("", "credentials", thisNamespace), secretPair("provisioner", "special", thisNamespace)),
		},
		{
			name: "secrets of all kinds", with: two, class: classOf(
				secretPair("provisioner", "special", thisNamespace), secretPair("controller-publish", "a", "ns-a"),
				secretPair("node-stage", "b", "ns-b"), secretPair("node-publish", "c", "ns-c"), secretPair("controller-expand", "d", "ns-d"),
				secretPair("node-expand", "e", "ns-e"), secretPair("controller-modify", "f", "ns-f"),
			),
		},
		{
			name: "secrets by their old names", with: one, class: classOf(parameters(
				"csiProvisionerSecretName", "credentials", "csiProvisionerSecretNamespace", thisNamespace,
				"csiControllerPublishSecretName", "a", "csiControllerPublishSecretNamespace", "ns-a",
				"csiNodeStageSecretName", "b", "csiNodeStageSecretNamespace", "ns-b",
				"csiNodePublishSecretName", "c", "csiNodePublishSecretNamespace", "ns-c",
			)),
		},
		{
			name: "secret, old name and new namespace", with: one,
			class: classOf(parameters("csiProvisionerSecretName", "credentials", provisionerSecretNamespace, thisNamespace)),
		},
		{name: "secret, old and new name", with: one, expect: refused, class: classOf(
			secretPair("provisioner", "credentials", thisNamespace), parameters("csiProvisionerSecretName", "credentials"))},
		{name: "secret without a namespace", with: one, expect: refused, class: classOf(parameters(provisionerSecretName, "credentials"))},
		{name: "secret without a name", expect: refused, class: classOf(parameters(provisionerSecretNamespace, thisNamespace))},
		{name: "secret with an empty name", expect: refused, class: classOf(secretPair("provisioner", "", thisNamespace))},
		{name: "secret that is not read, without a namespace", expect: refused, class: classOf(parameters(nodeStageSecretName, "b"))},
		{name: "secret that does not exist", expect: refused, class: classOf(secretPair("provisioner", "missing", thisNamespace))},
		{name: "secret without data", with: []ingredient{secret("credentials")}, class: classOf(secretPair("provisioner", "credentials", thisNamespace))},
		{
			name: "secret that is gone when the volume is deleted", with: one, then: []ingredient{withoutSecret("credentials")},
			class: classOf(secretPair("provisioner", "credentials", thisNamespace)),
		},
		{
			name: "secret, class deleted before the volume", with: one, then: []ingredient{withoutClass},
			class: classOf(secretPair("provisioner", "credentials", thisNamespace)),
		},
	}...)
}

func secretTemplateCases() []testCase {
	data := []ingredient{secret("data", "key"), secret("blue", "key")}
	return []testCase{
		{name: "template, namespace of the claim", with: data, class: classOf(secretPair("provisioner", "data", "${pvc.namespace}"))},
		{name: "template, name of the claim", with: data, class: classOf(secretPair("provisioner", "${pvc.name}", thisNamespace))},
		{
			name:  "template, namespace of the claim as a name",
			class: classOf(secretPair("node-publish", "of-${pvc.namespace}", "${pvc.namespace}")),
		},
		{name: "template, volume", class: classOf(secretPair("node-stage", "${pv.name}", "${pv.name}"))},
		{
			name: "template, annotation", with: data, claim: claimOf(annotated("team", "blue")),
			class: classOf(secretPair("provisioner", "${pvc.annotations['team']}", thisNamespace)),
		},
		{
			name: "template, annotation with a prefix", claim: claimOf(annotated("example.com/team", "blue")),
			class: classOf(secretPair("node-stage", "${pvc.annotations['example.com/team']}-secret", thisNamespace)),
		},
		{
			name: "template, annotation that is not there", expect: refused,
			class: classOf(secretPair("provisioner", "${pvc.annotations['none']}", thisNamespace)),
		},
		{
			name: "template, annotation as a namespace", claim: claimOf(annotated("team", "blue")), expect: refused,
			class: classOf(secretPair("provisioner", "data", "${pvc.annotations['team']}")),
		},
		{
			name: "template, annotation that is no name", claim: claimOf(annotated("team", "Not_A_Name")), expect: refused,
			class: classOf(secretPair("provisioner", "${pvc.annotations['team']}", thisNamespace)),
		},
		{name: "template, unknown token", expect: refused, class: classOf(secretPair("provisioner", "${pvc.uid}", thisNamespace))},
		{name: "template, claim as a namespace", expect: refused, class: classOf(secretPair("provisioner", "data", "${pvc.name}"))},
		{name: "template without braces", expect: refused, class: classOf(secretPair("provisioner", "$pvc.name", thisNamespace))},
		{name: "name that is none", expect: refused, class: classOf(secretPair("node-stage", "Not_A_Name", thisNamespace))},
		{name: "namespace that is none", expect: refused, class: classOf(secretPair("node-stage", "name", "not.a.namespace"))},
		{
			name: "template of a default", with: data,
			class: classOf(secretPair("", "${pvc.name}", "${pvc.namespace}")),
		},
	}
}

func attributeCases() []testCase {
	gold := withAttributes("gold")
	return []testCase{
		{name: "attributes", with: []ingredient{attributes("gold", "", map[string]string{"iops": "3000", "tier": "gold"})}, claim: gold},
		{
			name: "attributes of another driver", claim: gold, expect: refused,
			with: []ingredient{attributes("gold", "other.csi.example.com", map[string]string{"iops": "3000"})},
		},
		{name: "attributes that do not exist", claim: gold, expect: refused},
	}
}
