package provisioner

import (
	"context"
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// attributesClass reads a volume attributes class; nil if it does not exist.
func (c *Controller) attributesClass(ctx context.Context, name string) (*storagev1.VolumeAttributesClass, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	class, err := absent(c.client.StorageV1().VolumeAttributesClasses().Get(ctx, name, metav1.GetOptions{}))
	if err != nil {
		return nil, fmt.Errorf("read volume attributes class %q: %w", name, err)
	}
	return class, nil
}
