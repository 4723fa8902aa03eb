package provisioner

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// createSecrets reads the secret for the calls about an attempt's volume. It is read at each call, so that a secret that was changed counts
// at once, and nothing keeps it.
func (c *Controller) createSecrets(ctx context.Context, attempt *Attempt) (map[string]string, error) {
	if attempt.Secret == nil {
		return nil, nil
	}
	ctx, step := c.begin(ctx, stepSecrets)
	data, err := c.readSecret(ctx, attempt.Secret)
	step.end(err)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("secret %q in namespace %q, which class %q names for the driver, does not exist: create it", attempt.Secret.Name, attempt.Secret.Namespace, attempt.Class)
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("secret %q in namespace %q, which class %q names for the driver, may not be read: grant get on secrets to the provisioner's service account", attempt.Secret.Name, attempt.Secret.Namespace, attempt.Class)
	case err != nil:
		return nil, fmt.Errorf("read secret %q in namespace %q: %w", attempt.Secret.Name, attempt.Secret.Namespace, err)
	}
	return data, nil
}

// readSecret reads a secret's data; nil for no reference.
func (c *Controller) readSecret(ctx context.Context, reference *corev1.SecretReference) (map[string]string, error) {
	if reference == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	secret, err := c.client.CoreV1().Secrets(reference.Namespace).Get(ctx, reference.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data := make(map[string]string, len(secret.Data))
	for key, value := range secret.Data {
		data[key] = string(value)
	}
	return data, nil
}
