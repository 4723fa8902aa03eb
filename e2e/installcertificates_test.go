//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/e2e/harness"
)

// certificateSecret is the administrator's.
const certificateSecret = "own-certificate"

// switchesCertificates has the administrator bring a certificate along, and then leave certificates to Berth again.
func (i *installation) switchesCertificates() {
	i.t.Helper()
	authority, err := harness.NewAuthority("administrator")
	must(i.t, err)
	issued, err := authority.Issue("127.0.0.1")
	must(i.t, err)
	_, err = i.Client().CoreV1().Secrets(i.space).Create(i.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: certificateSecret}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: issued.Certificate, corev1.TLSPrivateKeyKey: issued.Key},
	}, metav1.CreateOptions{})
	must(i.t, err)

	// From the upgrade on the processes of before may not read what is left of the other mode, until they are replaced.
	i.withoutRights(func() {
		i.run("upgrade", i.release, chart, "--values", i.values,
			"--set", "admission.certificates.mode=existingSecret", "--set", "admission.certificates.existingSecret.name="+certificateSecret)
		i.trust(authority.Bundle)
		i.replaced()
	})
	i.wantBundle("the administrator's", func(bundle []byte) bool { return bytes.Equal(bundle, authority.Bundle) })
	// A class that came since then is meant, too: whoever makes the certificates, Berth keeps the match condition.
	second := i.class() + "-second"
	_, err = i.Client().StorageV1().StorageClasses().Create(i.t.Context(), harness.StorageClass(second, i.Driver.Name), metav1.CreateOptions{})
	must(i.t, err)
	i.annotatesFor(second)

	i.run("upgrade", i.release, chart, "--values", i.values)
	i.replaced()
	i.annotatesFor(second)
	i.wantBundle("Berth's own", func(bundle []byte) bool { return len(bundle) > 0 && !bytes.Equal(bundle, authority.Bundle) })
	must(i.t, i.Client().StorageV1().StorageClasses().Delete(i.t.Context(), second, metav1.DeleteOptions{}))
	must(i.t, i.Client().CoreV1().Secrets(i.space).Delete(i.t.Context(), certificateSecret, metav1.DeleteOptions{}))
}

// withoutRights notes the time in which processes lack rights that others have been given.
func (i *installation) withoutRights(do func()) {
	began := time.Now()
	do()
	i.excused = append(i.excused, [2]time.Time{began, time.Now()})
}

// replaced does what the Deployments' controller has kubelets do after an upgrade.
func (i *installation) replaced() {
	i.t.Helper()
	i.stopAll()
	i.startAll()
	i.annotatesFor(i.class())
	i.checks()
}

// annotatesFor waits until the webhook annotates claims of a class as they are created.
func (i *installation) annotatesFor(class string) {
	i.t.Helper()
	claims := i.Client().CoreV1().PersistentVolumeClaims(i.namespace)
	must(i.t, harness.Eventually(i.t.Context(), "claims of class "+class+" are annotated", func(ctx context.Context) error {
		claim, err := claims.Create(ctx, harness.Claim(i.namespace, "tried", class), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && !givenTo(claim, i.Driver.Name) {
			err = fmt.Errorf("annotations are %v", claim.Annotations)
		}
		return err
	}))
}

// webhookConfigurations of the release: kind's resource and name.
func (i *installation) webhookConfigurations() map[string]string {
	name := i.release + "-berth." + i.space
	return map[string]string{name: "mutating", name + " ": "validating", "contents." + name: "validating"}
}

// trust tells API servers whom to trust, with a field manager of its own, as docs/install.md has it.
func (i *installation) trust(bundle []byte) {
	i.t.Helper()
	api := i.Client().AdmissionregistrationV1()
	options := metav1.PatchOptions{FieldManager: "administrator", Force: new(true)}
	for name, kind := range i.webhookConfigurations() {
		name = strings.TrimSpace(name)
		webhook := map[string]string{"mutating": "claims.mutate.", "validating": "claims.validate."}[kind]
		if strings.HasPrefix(name, "contents.") {
			webhook = "contents.validate."
		}
		patch, err := json.Marshal(map[string]any{
			"apiVersion": "admissionregistration.k8s.io/v1",
			"kind":       map[string]string{"mutating": "MutatingWebhookConfiguration", "validating": "ValidatingWebhookConfiguration"}[kind],
			"metadata":   map[string]any{"name": name},
			"webhooks":   []any{map[string]any{"name": webhook + i.Driver.Name, "clientConfig": map[string]any{"caBundle": bundle}}},
		})
		must(i.t, err)
		if kind == "mutating" {
			_, err = api.MutatingWebhookConfigurations().Patch(i.t.Context(), name, types.ApplyPatchType, patch, options)
		} else {
			_, err = api.ValidatingWebhookConfigurations().Patch(i.t.Context(), name, types.ApplyPatchType, patch, options)
		}
		must(i.t, err)
	}
}

// wantBundle waits until API servers are told to trust something, in each of the configurations.
func (i *installation) wantBundle(whose string, is func([]byte) bool) {
	i.t.Helper()
	api := i.Client().AdmissionregistrationV1()
	must(i.t, harness.Eventually(i.t.Context(), "the webhooks carry a bundle that is "+whose, func(ctx context.Context) error {
		name := i.release + "-berth." + i.space
		mutating, err := api.MutatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		bundles := [][]byte{mutating.Webhooks[0].ClientConfig.CABundle}
		for _, name := range []string{name, "contents." + name} {
			validating, err := api.ValidatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			bundles = append(bundles, validating.Webhooks[0].ClientConfig.CABundle)
		}
		if slices.ContainsFunc(bundles, func(bundle []byte) bool { return !is(bundle) }) {
			return errors.New("one does not")
		}
		return nil
	}))
}

// mounted writes what the container's volumes hold from Secrets and ConfigMaps, as a kubelet would, and returns its arguments with the paths
// of that.
func (i *installation) mounted(deployment *appsv1.Deployment, container *corev1.Container) []string {
	i.t.Helper()
	var moved []string
	for _, mount := range container.VolumeMounts {
		volumes := deployment.Spec.Template.Spec.Volumes
		volume := volumes[slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })]
		if volume.Secret == nil {
			continue
		}
		secret, err := i.Client().CoreV1().Secrets(i.space).Get(i.t.Context(), volume.Secret.SecretName, metav1.GetOptions{})
		must(i.t, err)
		dir := filepath.Join(i.Dir, deployment.Name+"-"+mount.Name)
		must(i.t, os.MkdirAll(dir, 0o700))
		for _, item := range volume.Secret.Items {
			must(i.t, os.WriteFile(filepath.Join(dir, item.Path), secret.Data[item.Key], 0o600))
		}
		moved = append(moved, mount.MountPath+"/", dir+"/")
	}
	replacer := strings.NewReplacer(moved...)
	args := make([]string, len(container.Args))
	for n, arg := range container.Args {
		args[n] = replacer.Replace(arg)
	}
	return args
}
