package certs

import (
	"bytes"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/types"
)

// target is a webhook configuration that is to be kept.
type target struct {
	kind string
	name string
}

// The kinds of webhook configurations.
const (
	kindMutating   = "MutatingWebhookConfiguration"
	kindValidating = "ValidatingWebhookConfiguration"
)

// configuration is what is read of a webhook configuration of either kind.
type configuration struct {
	target          target
	uid             types.UID
	resourceVersion string
	webhooks        []webhook
}

type webhook struct {
	name       string
	bundle     []byte
	conditions []admissionregistrationv1.MatchCondition
}

func readConfiguration(t target, object any) configuration {
	read := configuration{target: t}
	switch c := object.(type) {
	case *admissionregistrationv1.MutatingWebhookConfiguration:
		read.uid, read.resourceVersion = c.UID, c.ResourceVersion
		for _, w := range c.Webhooks {
			read.webhooks = append(read.webhooks, webhook{w.Name, w.ClientConfig.CABundle, w.MatchConditions})
		}
	case *admissionregistrationv1.ValidatingWebhookConfiguration:
		read.uid, read.resourceVersion = c.UID, c.ResourceVersion
		for _, w := range c.Webhooks {
			read.webhooks = append(read.webhooks, webhook{w.Name, w.ClientConfig.CABundle, w.MatchConditions})
		}
	}
	return read
}

// bundles are whom the webhooks trust.
func bundles(configurations []configuration) [][]byte {
	var all [][]byte
	for _, c := range configurations {
		for _, w := range c.webhooks {
			all = append(all, w.bundle)
		}
	}
	return all
}

// carries reports whether every webhook carries the bundle.
func (c configuration) carries(bundle []byte) bool {
	for _, w := range c.webhooks {
		if !bytes.Equal(w.bundle, bundle) {
			return false
		}
	}
	return true
}

func (w webhook) expression(condition string) string {
	for _, c := range w.conditions {
		if c.Name == condition {
			return c.Expression
		}
	}
	return ""
}

// patch is what is sent in a server-side apply: a webhook configuration with nothing in it but our fields. Webhooks and their conditions are
// lists with a name for a key, so others' entries and fields stay as they are.
type patch struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   metadataPatch  `json:"metadata"`
	Webhooks   []webhookPatch `json:"webhooks,omitempty"`
}

// metadataPatch names the very object and version that was looked at. If it changed, the answer is a conflict; if it is gone, too: without
// a UID the API server would make it.
type metadataPatch struct {
	Name            string    `json:"name"`
	UID             types.UID `json:"uid"`
	ResourceVersion string    `json:"resourceVersion"`
}

type webhookPatch struct {
	Name            string                                   `json:"name"`
	ClientConfig    *clientConfigPatch                       `json:"clientConfig,omitempty"`
	MatchConditions []admissionregistrationv1.MatchCondition `json:"matchConditions,omitempty"`
}

type clientConfigPatch struct {
	CABundle []byte `json:"caBundle"`
}

// newPatch makes a patch that changes nothing.
func newPatch(c configuration) patch {
	return patch{
		APIVersion: admissionregistrationv1.SchemeGroupVersion.String(),
		Kind:       c.target.kind,
		Metadata:   metadataPatch{Name: c.target.name, UID: c.uid, ResourceVersion: c.resourceVersion},
	}
}

func (p patch) target() target { return target{p.Kind, p.Metadata.Name} }
