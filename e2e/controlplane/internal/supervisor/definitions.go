package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/berth-csi/berth/e2e/controlplane/crds"
)

// installDefinitions creates the custom resource definitions that are missing and returns once all are served. It
// belongs before the start of the controller-manager, whose garbage collector looks for new resources only every 30
// seconds.
func installDefinitions(ctx context.Context, config *rest.Config) error {
	definitions, err := crds.All()
	if err != nil {
		return err
	}
	clients, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("install definitions: %w", err)
	}
	client := clients.ApiextensionsV1().CustomResourceDefinitions()
	for _, definition := range definitions {
		_, err := client.Create(ctx, definition, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("install definition %s: %w", definition.Name, err)
		}
	}
	ticker := time.NewTicker(40 * time.Millisecond)
	defer ticker.Stop()
	for _, definition := range definitions {
		for {
			current, err := client.Get(ctx, definition.Name, metav1.GetOptions{})
			if err != nil {
				return fmt.Errorf("wait for definition %s: %w", definition.Name, err)
			}
			if established(current) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for definition %s: %w", definition.Name,
					errors.Join(context.Cause(ctx), errors.New("it is not established")))
			case <-ticker.C:
			}
		}
	}
	return nil
}

func established(definition *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(definition.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}
