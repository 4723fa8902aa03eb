package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Paths of Berth's webhooks.
const (
	PathMutateClaim     = "/mutate-persistentvolumeclaim"
	PathValidateClaim   = "/validate-persistentvolumeclaim"
	PathValidateContent = "/validate-volumesnapshotcontent"
)

// MatchCondition is the name of the match condition that Berth keeps in its webhooks.
const MatchCondition = "berth-classes"

// AdmissionOptions have a Berth serve its webhooks on loopback. The zero value is a good one.
type AdmissionOptions struct {
	// Account is the service account whose role names the webhook configurations and the Secret. World fills it in.
	Account string
	// Components of the process. Empty is "provisioner,webhook".
	Components string
	// Address to serve on. Empty is a free port on loopback.
	Address string
	// UnnamedSecret leaves it to Berth what the Secret with its authority is called; the account's role names another.
	UnnamedSecret bool
	// Files has it serve this certificate, which somebody else keeps, and the webhook configurations as well. nil: it sees to all that itself.
	Files *CertificateFiles
}

// configurations are the names of an account's webhook configurations.
func configurations(account string) (mutate, validate, contents string) {
	return account + "-mutate-claims", account + "-validate-claims", account + "-validate-contents"
}

// authoritySecret is the name of the Secret with an account's authority.
func authoritySecret(account string) string { return account + "-admission" }

func (o *AdmissionOptions) fill(ctx context.Context) (err error) {
	if o.Account == "" {
		return errors.New("admission needs the name of the service account")
	}
	if o.Components == "" {
		o.Components = "provisioner,webhook"
	}
	if o.Address == "" {
		o.Address, err = freeAddress(ctx)
	}
	return err
}

// flags are those that a chart would set for these options.
func (o *AdmissionOptions) flags() []string {
	flags := []string{"--components=" + o.Components, "--admission-address=" + o.Address, "--admission-drain=1s"}
	if o.Files != nil {
		return append(flags, "--admission-certificates=files",
			"--admission-certificate-file="+o.Files.Certificate, "--admission-key-file="+o.Files.Key)
	}
	if !o.UnnamedSecret {
		flags = append(flags, "--admission-secret="+authoritySecret(o.Account))
	}
	mutate, validate, contents := configurations(o.Account)
	return append(flags, "--admission-service-names=127.0.0.1",
		"--admission-mutating-configurations="+mutate, "--admission-validating-configurations="+validate+","+contents)
}

// Webhooks are the webhook configurations of one Berth, as a chart would render them, except that they call by URL: one webhook in each,
// nothing that Berth itself writes, failure policy Ignore.
type Webhooks struct {
	MutateClaims     *admissionregistrationv1.MutatingWebhookConfiguration
	ValidateClaims   *admissionregistrationv1.ValidatingWebhookConfiguration
	ValidateContents *admissionregistrationv1.ValidatingWebhookConfiguration
}

// NewWebhooks describes the webhooks that options serve.
func NewWebhooks(options *AdmissionOptions) *Webhooks {
	mutate, validate, contents := configurations(options.Account)
	call := func(path string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{URL: new("https://" + options.Address + path)}
	}
	rules := func(group, resource string) []admissionregistrationv1.RuleWithOperations {
		return []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: []string{resource}},
		}}
	}
	validating := func(name, path, group, resource string) *admissionregistrationv1.ValidatingWebhookConfiguration {
		return &admissionregistrationv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{
				Name: name + ".berth.dev", ClientConfig: call(path), Rules: rules(group, resource),
				FailurePolicy: new(admissionregistrationv1.Ignore), SideEffects: new(admissionregistrationv1.SideEffectClassNone),
				TimeoutSeconds: new(int32(webhookTimeout)), AdmissionReviewVersions: []string{"v1"},
			}},
		}
	}
	return &Webhooks{
		MutateClaims: &admissionregistrationv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: mutate},
			Webhooks: []admissionregistrationv1.MutatingWebhook{{
				Name: mutate + ".berth.dev", ClientConfig: call(PathMutateClaim), Rules: rules("", "persistentvolumeclaims"),
				FailurePolicy: new(admissionregistrationv1.Ignore), SideEffects: new(admissionregistrationv1.SideEffectClassNone),
				TimeoutSeconds: new(int32(webhookTimeout)), AdmissionReviewVersions: []string{"v1"},
				ReinvocationPolicy: new(admissionregistrationv1.IfNeededReinvocationPolicy),
			}},
		},
		ValidateClaims:   validating(validate, PathValidateClaim, "", "persistentvolumeclaims"),
		ValidateContents: validating(contents, PathValidateContent, SnapshotGroup, "volumesnapshotcontents"),
	}
}

// webhookTimeout is how many seconds the API server waits for an answer.
const webhookTimeout = 2

// OnlyIn is an edit of Webhooks: they are called for claims of these namespaces only, so that stories beside this one are left alone.
func OnlyIn(namespaces ...string) func(*Webhooks) {
	selector := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: namespaces,
	}}}
	return func(w *Webhooks) {
		w.MutateClaims.Webhooks[0].NamespaceSelector = selector
		w.ValidateClaims.Webhooks[0].NamespaceSelector = selector
	}
}

// Everywhere is an edit of Webhooks: they are called for the claims of all namespaces, which the match condition narrows to the driver's classes.
func Everywhere(w *Webhooks) {
	w.MutateClaims.Webhooks[0].NamespaceSelector = nil
	w.ValidateClaims.Webhooks[0].NamespaceSelector = nil
}

// Trusting is an edit of Webhooks: API servers trust these authorities, in PEM, which somebody else than Berth tells them.
func Trusting(bundle []byte) func(*Webhooks) {
	return func(w *Webhooks) {
		w.MutateClaims.Webhooks[0].ClientConfig.CABundle = bundle
		w.ValidateClaims.Webhooks[0].ClientConfig.CABundle = bundle
		w.ValidateContents.Webhooks[0].ClientConfig.CABundle = bundle
	}
}

// Mandatory is an edit of Webhooks: claims that cannot be asked about are refused. The contents of snapshots belong to no namespace, so that
// stories beside this one would be refused theirs.
func Mandatory(w *Webhooks) {
	w.MutateClaims.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Fail)
	w.ValidateClaims.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Fail)
}

// Install creates the webhook configurations.
func (w *Webhooks) Install(ctx context.Context, client kubernetes.Interface) error {
	api := client.AdmissionregistrationV1()
	_, err := api.MutatingWebhookConfigurations().Create(ctx, w.MutateClaims, metav1.CreateOptions{})
	for _, validating := range []*admissionregistrationv1.ValidatingWebhookConfiguration{w.ValidateClaims, w.ValidateContents} {
		if err == nil {
			_, err = api.ValidatingWebhookConfigurations().Create(ctx, validating, metav1.CreateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("install webhooks: %w", err)
	}
	return nil
}

// Rendered is a webhook configuration as whoever applies a chart sends it: with its kind, and nothing that the API server has added.
func Rendered(configuration *admissionregistrationv1.MutatingWebhookConfiguration) ([]byte, error) {
	rendered := configuration.DeepCopy()
	rendered.TypeMeta = metav1.TypeMeta{
		APIVersion: admissionregistrationv1.SchemeGroupVersion.String(), Kind: "MutatingWebhookConfiguration",
	}
	return json.Marshal(rendered)
}

// Remove deletes the webhook configurations. What is gone is fine.
func (w *Webhooks) Remove(ctx context.Context, client kubernetes.Interface) error {
	api := client.AdmissionregistrationV1()
	return errors.Join(
		unlessGone(api.MutatingWebhookConfigurations().Delete(ctx, w.MutateClaims.Name, metav1.DeleteOptions{})),
		unlessGone(api.ValidatingWebhookConfigurations().Delete(ctx, w.ValidateClaims.Name, metav1.DeleteOptions{})),
		unlessGone(api.ValidatingWebhookConfigurations().Delete(ctx, w.ValidateContents.Name, metav1.DeleteOptions{})))
}

// Kept is what Berth has written into one of its webhooks.
type Kept struct {
	Configuration string
	Bundle        []byte
	Condition     string // the expression of MatchCondition; empty: there is none
}

// Kept is what Berth has written into the webhooks by now.
func (w *Webhooks) Kept(ctx context.Context, client kubernetes.Interface) ([]Kept, error) {
	api := client.AdmissionregistrationV1()
	expression := func(conditions []admissionregistrationv1.MatchCondition) string {
		for _, condition := range conditions {
			if condition.Name == MatchCondition {
				return condition.Expression
			}
		}
		return ""
	}
	mutate, err := api.MutatingWebhookConfigurations().Get(ctx, w.MutateClaims.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	kept := []Kept{{mutate.Name, mutate.Webhooks[0].ClientConfig.CABundle, expression(mutate.Webhooks[0].MatchConditions)}}
	for _, name := range []string{w.ValidateClaims.Name, w.ValidateContents.Name} {
		validate, err := api.ValidatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		kept = append(kept, Kept{name, validate.Webhooks[0].ClientConfig.CABundle, expression(validate.Webhooks[0].MatchConditions)})
	}
	return kept, nil
}

// WaitKept waits until Berth has told the API server whom to trust, in every webhook, and that the classes are meant. API servers hear of it
// a moment later.
func (w *Webhooks) WaitKept(ctx context.Context, client kubernetes.Interface, classes ...string) error {
	return Eventually(ctx, "the webhooks carry a bundle, and a condition with the classes", func(ctx context.Context) error {
		kept, err := w.Kept(ctx, client)
		if err != nil {
			return err
		}
		for _, one := range kept {
			if len(one.Bundle) == 0 {
				return fmt.Errorf("%s carries no bundle", one.Configuration)
			}
			for _, class := range classes {
				quoted, err := json.Marshal(class)
				if err != nil {
					return err
				}
				if !strings.Contains(one.Condition, string(quoted)) {
					return fmt.Errorf("the condition of %s is %q, without %s", one.Configuration, one.Condition, quoted)
				}
			}
		}
		return nil
	})
}
