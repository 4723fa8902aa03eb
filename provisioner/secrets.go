package provisioner

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Names of the secrets that a class can give.
const (
	secretProvisioner       = "provisioner"        // CreateVolume and DeleteVolume
	secretControllerPublish = "controller-publish" // the rest are for whoever works with the volume later
	secretNodeStage         = "node-stage"
	secretNodePublish       = "node-publish"
	secretControllerExpand  = "controller-expand"
	secretNodeExpand        = "node-expand"
	secretControllerModify  = "controller-modify"
)

// Suffixes of the two halves of a secret's reference.
const (
	suffixName      = "-name"
	suffixNamespace = "-namespace"
)

// parameterDefaultSecret, with the suffixes, names the secret of every kind that the class does not give.
const parameterDefaultSecret = parameterPrefix + "secret"

// secretParameters are the parameters of the kinds of secrets, without suffix: PREFIX/KIND-secret-name and -namespace, and for the first
// four the names from before there was a prefix.
var secretParameters = map[string]struct{ current, deprecated string }{
	secretProvisioner:       {parameterPrefix + "provisioner-secret", "csiProvisionerSecret"},
	secretControllerPublish: {parameterPrefix + "controller-publish-secret", "csiControllerPublishSecret"},
	secretNodeStage:         {parameterPrefix + "node-stage-secret", "csiNodeStageSecret"},
	secretNodePublish:       {parameterPrefix + "node-publish-secret", "csiNodePublishSecret"},
	secretControllerExpand:  {parameterPrefix + "controller-expand-secret", ""},
	secretNodeExpand:        {parameterPrefix + "node-expand-secret", ""},
	secretControllerModify:  {parameterPrefix + "controller-modify-secret", ""},
}

// isSecretParameter knows the reserved names of secrets. The deprecated ones have no prefix: they are the driver's, too.
func isSecretParameter(key string) bool {
	stem, ok := strings.CutSuffix(key, suffixNamespace)
	if !ok {
		if stem, ok = strings.CutSuffix(key, suffixName); !ok {
			return false
		}
	}
	if stem == parameterDefaultSecret {
		return true
	}
	for _, parameter := range secretParameters {
		if stem == parameter.current {
			return true
		}
	}
	return false
}

// secretTokens are what a class's templates can name. The zero value of a field means that it is not known, as with a volume that is deleted
// after its claim.
type secretTokens struct {
	volume      string            // ${pv.name}
	namespace   string            // ${pvc.namespace}
	claim       string            // ${pvc.name}; not in namespaces, which a claim's author must not choose
	annotations map[string]string // ${pvc.annotations['KEY']}; not in namespaces either
}

// resolveSecrets finds the secrets that a class names, by kind. A kind without one is not in the map.
func resolveSecrets(parameters map[string]string, tokens secretTokens) (map[string]*corev1.SecretReference, error) {
	found := map[string]*corev1.SecretReference{}
	for _, kind := range slices.Sorted(maps.Keys(secretParameters)) {
		reference, err := resolveSecret(kind, parameters, tokens)
		if err != nil {
			return nil, err
		}
		if reference != nil {
			found[kind] = reference
		}
	}
	return found, nil
}

// resolveSecret finds the secret of one kind; nil if the class gives none.
func resolveSecret(kind string, parameters map[string]string, tokens secretTokens) (*corev1.SecretReference, error) {
	name, namespace, err := secretTemplates(kind, parameters)
	if err != nil || name == nil {
		return nil, err
	}
	known := map[string]string{}
	if tokens.volume != "" {
		known["pv.name"] = tokens.volume
	}
	if tokens.namespace != "" {
		known["pvc.namespace"] = tokens.namespace
	}
	resolvedNamespace, err := namespace.expand(known)
	if err != nil {
		return nil, err
	}
	if problems := validation.IsDNS1123Label(resolvedNamespace); len(problems) > 0 {
		return nil, namespace.invalid(resolvedNamespace, "the name of a namespace", problems)
	}
	if tokens.claim != "" {
		known["pvc.name"] = tokens.claim
	}
	for key, value := range tokens.annotations {
		known["pvc.annotations['"+key+"']"] = value
	}
	resolvedName, err := name.expand(known)
	if err != nil {
		return nil, err
	}
	if problems := validation.IsDNS1123Subdomain(resolvedName); len(problems) > 0 {
		return nil, name.invalid(resolvedName, "the name of a secret", problems)
	}
	return &corev1.SecretReference{Name: resolvedName, Namespace: resolvedNamespace}, nil
}

// secretTemplate is one half of a secret's reference as the class gives it.
type secretTemplate struct{ parameter, value string }

// secretTemplates finds both halves of a kind's secret: as given for the kind, under its current or its deprecated names, else the class's
// default for all kinds, else nil. One half without the other is an error.
func secretTemplates(kind string, parameters map[string]string) (name, namespace *secretTemplate, err error) {
	own := secretParameters[kind]
	if name, err = secretHalf(own.current, own.deprecated, suffixName, parameters); err != nil {
		return nil, nil, err
	}
	if namespace, err = secretHalf(own.current, own.deprecated, suffixNamespace, parameters); err != nil {
		return nil, nil, err
	}
	stem := own.current
	if name == nil && namespace == nil {
		stem = parameterDefaultSecret
		if name, err = secretHalf(stem, "", suffixName, parameters); err != nil {
			return nil, nil, err
		}
		if namespace, err = secretHalf(stem, "", suffixNamespace, parameters); err != nil {
			return nil, nil, err
		}
	}
	if (name == nil) != (namespace == nil) {
		given, missing := stem+suffixName, stem+suffixNamespace
		if name == nil {
			given, missing = missing, given
		}
		return nil, nil, fmt.Errorf("parameter %q is given without %q: a secret needs both", given, missing)
	}
	return name, namespace, nil
}

func secretHalf(current, deprecated, suffix string, parameters map[string]string) (*secretTemplate, error) {
	key := current + suffix
	value, ok := parameters[key]
	if deprecated != "" {
		older := deprecated + "Name"
		if suffix == suffixNamespace {
			older = deprecated + "Namespace"
		}
		if olderValue, both := parameters[older]; both {
			if ok {
				return nil, fmt.Errorf("parameters %q and %q mean the same: keep %q", key, older, key)
			}
			key, value, ok = older, olderValue, true
		}
	}
	if !ok {
		return nil, nil
	}
	if value == "" {
		return nil, fmt.Errorf("parameter %q is empty: give a value, or leave out both halves of the secret", key)
	}
	return &secretTemplate{key, value}, nil
}

// expand replaces ${TOKEN}, and $TOKEN, by what it stands for.
func (t *secretTemplate) expand(known map[string]string) (string, error) {
	unknown := map[string]bool{}
	resolved := os.Expand(t.value, func(token string) string {
		value, ok := known[token]
		if !ok {
			unknown[token] = true
		}
		return value
	})
	if len(unknown) == 0 {
		return resolved, nil
	}
	return "", fmt.Errorf("parameter %q is %q, where nothing is known by the name %s; known are %s", t.parameter, t.value,
		quoted(slices.Sorted(maps.Keys(unknown))), quoted(slices.Sorted(maps.Keys(known))))
}

func (t *secretTemplate) invalid(resolved, what string, problems []string) error {
	if resolved == t.value {
		return fmt.Errorf("parameter %q is %q, which is not %s: %s", t.parameter, t.value, what, strings.Join(problems, "; "))
	}
	return fmt.Errorf("parameter %q is %q and resolves to %q, which is not %s: %s", t.parameter, t.value, resolved, what, strings.Join(problems, "; "))
}

func quoted(words []string) string {
	quotes := make([]string, len(words))
	for i, word := range words {
		quotes[i] = fmt.Sprintf("%q", word)
	}
	return strings.Join(quotes, ", ")
}

// templateAnnotations are the keys of the claim's annotations that a class's templates for secrets name: a change of one of them is news for
// a claim of the class.
func templateAnnotations(parameters map[string]string) []string {
	var keys []string
	for parameter, value := range parameters {
		if !strings.HasSuffix(parameter, suffixName) && !strings.HasSuffix(parameter, "SecretName") {
			continue
		}
		os.Expand(value, func(token string) string {
			if key, ok := strings.CutPrefix(token, "pvc.annotations['"); ok {
				keys = append(keys, strings.TrimSuffix(key, "']"))
			}
			return ""
		})
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
