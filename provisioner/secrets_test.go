package provisioner

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// pairs makes a class's parameters of keys and values in turn.
func pairs(all ...string) map[string]string { return makeClass(parameters(all...)).Parameters }

func secretRef(name, namespace string) *corev1.SecretReference {
	return &corev1.SecretReference{Name: name, Namespace: namespace}
}

// testTokens are what a claim of the builders gives to templates.
func testTokens(annotations ...string) secretTokens {
	return secretTokens{volume: testVolume, namespace: "ns", claim: "data", annotations: pairs(annotations...)}
}

// kindsOfSecrets are the stems of the parameters as people write them, so that a slip in the product's table shows.
var kindsOfSecrets = map[string]string{
	"provisioner":        "csi.storage.k8s.io/provisioner-secret",
	"controller-publish": "csi.storage.k8s.io/controller-publish-secret",
	"node-stage":         "csi.storage.k8s.io/node-stage-secret",
	"node-publish":       "csi.storage.k8s.io/node-publish-secret",
	"controller-expand":  "csi.storage.k8s.io/controller-expand-secret",
	"node-expand":        "csi.storage.k8s.io/node-expand-secret",
	"controller-modify":  "csi.storage.k8s.io/controller-modify-secret",
}

func TestEveryKindOfSecretIsFoundByItsOwnNames(t *testing.T) {
	for kind, stem := range kindsOfSecrets {
		got, err := resolveSecrets(pairs(stem+"-name", "s", stem+"-namespace", "far"), testTokens())
		want := map[string]*corev1.SecretReference{kind: secretRef("s", "far")}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", kind, err, diff)
		}
	}
}

func TestEverySecretGoesToItsPlaceInTheVolume(t *testing.T) {
	var all []string
	for kind, stem := range kindsOfSecrets {
		all = append(all, stem+"-name", kind, stem+"-namespace", "of-"+kind)
	}
	ref := func(kind string) *corev1.SecretReference { return secretRef(kind, "of-"+kind) }
	attempt := sealed(makeInput(classIs(parameters(all...))), nil)
	if diff := cmp.Diff(ref("provisioner"), attempt.Secret); diff != "" {
		t.Errorf("the driver's: %s", diff)
	}
	want := &corev1.CSIPersistentVolumeSource{
		Driver:                     testDriver,
		ControllerPublishSecretRef: ref("controller-publish"),
		NodeStageSecretRef:         ref("node-stage"),
		NodePublishSecretRef:       ref("node-publish"),
		ControllerExpandSecretRef:  ref("controller-expand"),
		NodeExpandSecretRef:        ref("node-expand"),
	}
	if diff := cmp.Diff(want, attempt.Template.Spec.CSI); diff != "" {
		t.Error(diff)
	}
	annotations := map[string]string{
		"pv.kubernetes.io/provisioned-by":                            testDriver,
		"volume.kubernetes.io/provisioner-deletion-secret-name":      "provisioner",
		"volume.kubernetes.io/provisioner-deletion-secret-namespace": "of-provisioner",
		"volume.kubernetes.io/controller-modify-secret-name":         "controller-modify",
		"volume.kubernetes.io/controller-modify-secret-namespace":    "of-controller-modify",
	}
	if diff := cmp.Diff(annotations, attempt.Template.Annotations); diff != "" {
		t.Error(diff)
	}
	if len(attempt.Request.GetParameters()) > 0 {
		t.Errorf("the driver gets %v", attempt.Request.GetParameters())
	}
}

func TestWhichSecretAClassNames(t *testing.T) {
	const (
		current    = "csi.storage.k8s.io/node-stage-secret"
		deprecated = "csiNodeStageSecret"
		byDefault  = "csi.storage.k8s.io/secret"
	)
	tests := map[string]struct {
		parameters map[string]string
		want       *corev1.SecretReference
		err        string
	}{
		"none":                      {pairs("tier", "gold"), nil, ""},
		"its own":                   {pairs(current+"-name", "s", current+"-namespace", "far"), secretRef("s", "far"), ""},
		"its own, in the old names": {pairs(deprecated+"Name", "s", deprecated+"Namespace", "far"), secretRef("s", "far"), ""},
		"half in the old names":     {pairs(deprecated+"Name", "s", current+"-namespace", "far"), secretRef("s", "far"), ""},
		"the default":               {pairs(byDefault+"-name", "d", byDefault+"-namespace", "far"), secretRef("d", "far"), ""},
		"its own wins over the default": {pairs(byDefault+"-name", "d", byDefault+"-namespace", "far", current+"-name", "s", current+"-namespace", "near"),
			secretRef("s", "near"), ""},
		"the old names win over the default": {pairs(byDefault+"-name", "d", byDefault+"-namespace", "far", deprecated+"Name", "s", deprecated+"Namespace", "near"),
			secretRef("s", "near"), ""},
		"the other kinds' are not its own": {pairs("csi.storage.k8s.io/node-publish-secret-name", "s", "csi.storage.k8s.io/node-publish-secret-namespace", "far"), nil, ""},

		"both names of one half": {pairs(current+"-name", "s", deprecated+"Name", "s", current+"-namespace", "far"), nil,
			`parameters "csi.storage.k8s.io/node-stage-secret-name" and "csiNodeStageSecretName" mean the same: keep "csi.storage.k8s.io/node-stage-secret-name"`},
		"both names of the other half": {pairs(current+"-name", "s", deprecated+"Namespace", "far", current+"-namespace", "far"), nil,
			`parameters "csi.storage.k8s.io/node-stage-secret-namespace" and "csiNodeStageSecretNamespace" mean the same: keep "csi.storage.k8s.io/node-stage-secret-namespace"`},
		"a name alone": {pairs(current+"-name", "s"), nil,
			`parameter "csi.storage.k8s.io/node-stage-secret-name" is given without "csi.storage.k8s.io/node-stage-secret-namespace": a secret needs both`},
		"a namespace alone": {pairs(current+"-namespace", "far"), nil,
			`parameter "csi.storage.k8s.io/node-stage-secret-namespace" is given without "csi.storage.k8s.io/node-stage-secret-name": a secret needs both`},
		"half of its own is not completed by the default": {pairs(byDefault+"-name", "d", byDefault+"-namespace", "far", current+"-name", "s"), nil,
			`parameter "csi.storage.k8s.io/node-stage-secret-name" is given without "csi.storage.k8s.io/node-stage-secret-namespace": a secret needs both`},
		"half a default": {pairs(byDefault+"-namespace", "far"), nil,
			`parameter "csi.storage.k8s.io/secret-namespace" is given without "csi.storage.k8s.io/secret-name": a secret needs both`},
		"an empty name": {pairs(current+"-name", "", current+"-namespace", "far"), nil,
			`parameter "csi.storage.k8s.io/node-stage-secret-name" is empty: give a value, or leave out both halves of the secret`},
		"an empty namespace, in the old names": {pairs(deprecated+"Name", "s", deprecated+"Namespace", ""), nil,
			`parameter "csiNodeStageSecretNamespace" is empty: give a value, or leave out both halves of the secret`},
		"an empty default": {pairs(byDefault+"-name", "", byDefault+"-namespace", ""), nil,
			`parameter "csi.storage.k8s.io/secret-name" is empty: give a value, or leave out both halves of the secret`},
		"an empty namespace by default": {pairs(byDefault+"-name", "d", byDefault+"-namespace", ""), nil,
			`parameter "csi.storage.k8s.io/secret-namespace" is empty: give a value, or leave out both halves of the secret`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := resolveSecret("node-stage", tt.parameters, testTokens())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got  %v\nwant %v", err, tt.err)
			}
		})
	}
}

func TestOnlyTheFirstFourKindsHaveOldNames(t *testing.T) {
	for old, kind := range map[string]string{
		"csiProvisionerSecret": "provisioner", "csiControllerPublishSecret": "controller-publish",
		"csiNodeStageSecret": "node-stage", "csiNodePublishSecret": "node-publish",
		"csiControllerExpandSecret": "", "csiNodeExpandSecret": "", "csiControllerModifySecret": "", "csiSecret": "",
	} {
		want := map[string]*corev1.SecretReference{}
		if kind != "" {
			want[kind] = secretRef("s", "far")
		}
		got, err := resolveSecrets(pairs(old+"Name", "s", old+"Namespace", "far"), testTokens())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", old, err, diff)
		}
	}
}

func TestTheDefaultSecretIsForEveryKindThatIsNotGiven(t *testing.T) {
	got, err := resolveSecrets(pairs("csi.storage.k8s.io/secret-name", "d", "csi.storage.k8s.io/secret-namespace", "far",
		"csi.storage.k8s.io/node-expand-secret-name", "s", "csi.storage.k8s.io/node-expand-secret-namespace", "near"), testTokens())
	want := map[string]*corev1.SecretReference{}
	for kind := range kindsOfSecrets {
		want[kind] = secretRef("d", "far")
	}
	want["node-expand"] = secretRef("s", "near")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestSecretTemplates(t *testing.T) {
	const (
		name      = `parameter "csi.storage.k8s.io/provisioner-secret-name" is `
		namespace = `parameter "csi.storage.k8s.io/provisioner-secret-namespace" is `
		label     = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " +
			"alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
		subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an " +
			"alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
	)
	tests := map[string]struct {
		name, namespace string
		tokens          secretTokens
		want            *corev1.SecretReference
		err             string
	}{
		"none":                               {"s", "far", testTokens(), secretRef("s", "far"), ""},
		"the volume":                         {"${pv.name}", "${pv.name}", testTokens(), secretRef(testVolume, testVolume), ""},
		"the claim":                          {"${pvc.name}", "${pvc.namespace}", testTokens(), secretRef("data", "ns"), ""},
		"the namespace, in a name":           {"s-${pvc.namespace}.${pvc.name}", "x-${pvc.namespace}", testTokens(), secretRef("s-ns.data", "x-ns"), ""},
		"an annotation":                      {"${pvc.annotations['team.example/key']}", "ns", testTokens("team.example/key", "blue"), secretRef("blue", "ns"), ""},
		"an empty pair of braces is nothing": {"a${}b", "ns", testTokens(), secretRef("ab", "ns"), ""},

		"an annotation that is not there": {"${pvc.annotations['key']}", "ns", testTokens("other", "x"), nil,
			name + `"${pvc.annotations['key']}", where nothing is known by the name "pvc.annotations['key']"; known are ` +
				`"pv.name", "pvc.annotations['other']", "pvc.name", "pvc.namespace"`},
		"an annotation that is empty": {"${pvc.annotations['key']}", "ns", testTokens("key", ""), nil,
			name + `"${pvc.annotations['key']}" and resolves to "", which is not the name of a secret: ` + subdomain},
		"an annotation that is no name": {"${pvc.annotations['key']}", "ns", testTokens("key", "Not_A_Name"), nil,
			name + `"${pvc.annotations['key']}" and resolves to "Not_A_Name", which is not the name of a secret: ` + subdomain},
		"an annotation that is a template is not expanded again": {"${pvc.annotations['key']}", "ns", testTokens("key", "${pv.name}"), nil,
			name + `"${pvc.annotations['key']}" and resolves to "${pv.name}", which is not the name of a secret: ` + subdomain},
		"several things nobody knows": {"${b}-${a}-${b}-${pv.name}", "ns", testTokens(), nil,
			name + `"${b}-${a}-${b}-${pv.name}", where nothing is known by the name "a", "b"; known are "pv.name", "pvc.name", "pvc.namespace"`},
		"a dollar without braces": {"$pvc", "ns", testTokens(), nil,
			name + `"$pvc", where nothing is known by the name "pvc"; known are "pv.name", "pvc.name", "pvc.namespace"`},
		"the claim's name, in a namespace": {"s", "${pvc.name}", testTokens(), nil,
			namespace + `"${pvc.name}", where nothing is known by the name "pvc.name"; known are "pv.name", "pvc.namespace"`},
		"an annotation, in a namespace": {"s", "${pvc.annotations['key']}", testTokens("key", "far"), nil,
			namespace + `"${pvc.annotations['key']}", where nothing is known by the name "pvc.annotations['key']"; known are "pv.name", "pvc.namespace"`},
		"a namespace with a dot": {"s", "a.b", testTokens(), nil,
			namespace + `"a.b", which is not the name of a namespace: must not contain dots`},
		"a namespace in capitals": {"s", "Far", testTokens(), nil, namespace + `"Far", which is not the name of a namespace: ` + label},
		"a namespace that becomes too long": {"s", "${pv.name}-${pv.name}", testTokens(), nil,
			namespace + `"${pv.name}-${pv.name}" and resolves to "` + testVolume + "-" + testVolume + `", which is not the name of a namespace: must be no more than 63 characters`},
		"a name in capitals": {"S", "ns", testTokens(), nil, name + `"S", which is not the name of a secret: ` + subdomain},
		"nothing is known of the claim any more": {"${pvc.name}", "ns", secretTokens{}, nil,
			name + `"${pvc.name}", where nothing is known by the name "pvc.name"; known are `},
	}
	for test, tt := range tests {
		t.Run(test, func(t *testing.T) {
			got, err := resolveSecret("provisioner", pairs("csi.storage.k8s.io/provisioner-secret-name", tt.name,
				"csi.storage.k8s.io/provisioner-secret-namespace", tt.namespace), tt.tokens)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got  %v\nwant %v", err, tt.err)
			}
		})
	}
}

func TestTheFirstSecretThatIsWrongIsTheOneThatIsTold(t *testing.T) {
	_, err := seal(makeInput(classIs(parameters("csi.storage.k8s.io/node-stage-secret-name", "s", "csi.storage.k8s.io/controller-expand-secret-name", "s"))), nil)
	if want := `storage class "fast": parameter "csi.storage.k8s.io/controller-expand-secret-name" is given without ` +
		`"csi.storage.k8s.io/controller-expand-secret-namespace": a secret needs both`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestSplitParameters(t *testing.T) {
	const twice = `the file system type is given twice ("fstype" and "fstype" or another spelling): keep "csi.storage.k8s.io/fstype"`
	reserved := func(key string) string {
		return fmt.Sprintf("parameter %q is reserved (prefix \"csi.storage.k8s.io/\") but unknown: check its spelling", key)
	}
	type split struct {
		all    map[string]string
		driver map[string]string
		fsType *string
		err    string
	}
	tests := map[string]split{
		"nothing":                             {nil, pairs(), nil, ""},
		"the driver's own":                    {pairs("tier", "gold", "csi.storage.k8s", "x"), pairs("tier", "gold", "csi.storage.k8s", "x"), nil, ""},
		"the file system":                     {pairs("csi.storage.k8s.io/fstype", "xfs"), pairs(), new("xfs"), ""},
		"no file system, said so":             {pairs("csi.storage.k8s.io/fstype", ""), pairs(), new(""), ""},
		"the older spelling stays":            {pairs("fsType", "xfs"), pairs("fsType", "xfs"), new("xfs"), ""},
		"the older names of secrets stay":     {pairs("csiNodeStageSecretName", "s"), pairs("csiNodeStageSecretName", "s"), nil, ""},
		"the default secret":                  {pairs("csi.storage.k8s.io/secret-name", "s", "csi.storage.k8s.io/secret-namespace", "far"), pairs(), nil, ""},
		"what only looks like a secret":       {pairs("my-secret-name", "s"), pairs("my-secret-name", "s"), nil, ""},
		"the file system twice":               {pairs("csi.storage.k8s.io/fstype", "xfs", "fstype", "xfs"), nil, nil, twice},
		"a kind of secret nobody knows":       {pairs("csi.storage.k8s.io/node-unstage-secret-name", "s"), nil, nil, reserved("csi.storage.k8s.io/node-unstage-secret-name")},
		"a secret without a half's name":      {pairs("csi.storage.k8s.io/node-stage-secret", "s"), nil, nil, reserved("csi.storage.k8s.io/node-stage-secret")},
		"the prefix alone":                    {pairs("csi.storage.k8s.io/", "s"), nil, nil, reserved("csi.storage.k8s.io/")},
		"our own addition, from outside":      {pairs("csi.storage.k8s.io/pv/name", "s"), nil, nil, reserved("csi.storage.k8s.io/pv/name")},
		"the file system in another spelling": {pairs("csi.storage.k8s.io/fsType", "xfs"), nil, nil, reserved("csi.storage.k8s.io/fsType")},
	}
	for kind, stem := range kindsOfSecrets {
		tests["the secret "+kind] = split{pairs(stem+"-name", "s", stem+"-namespace", "far", "tier", "gold"), pairs("tier", "gold"), nil, ""}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			driver, fsType, err := splitParameters(tt.all)
			if diff := cmp.Diff(tt.driver, driver); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.fsType, fsType); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
				t.Errorf("got  %v\nwant %v", err, tt.err)
			}
		})
	}
}

func TestAnnotationsThatTemplatesName(t *testing.T) {
	got := templateAnnotations(pairs(
		"csi.storage.k8s.io/provisioner-secret-name", "${pvc.annotations['team']}-${pvc.annotations['b']}",
		"csi.storage.k8s.io/provisioner-secret-namespace", "${pvc.annotations['never']}", // nothing is known by that name there
		"csiNodeStageSecretName", "${pvc.annotations['team']}",
		"csi.storage.k8s.io/secret-name", "${pvc.name}${pvc.annotations['a']}",
		"tier", "${pvc.annotations['other']}",
	))
	if diff := cmp.Diff([]string{"a", "b", "team"}, got); diff != "" {
		t.Error(diff)
	}
	if got := templateAnnotations(nil); len(got) > 0 {
		t.Errorf("no class names %q", got)
	}
}
