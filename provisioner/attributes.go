package provisioner

import (
	"context"
	"fmt"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// attributesClass finds a volume attributes class: in the cache, which what we read of a class cannot change, or else by a live read; nil if it
// does not exist.
func (c *Controller) attributesClass(ctx context.Context, name string) (*storagev1.VolumeAttributesClass, error) {
	if c.attributes != nil {
		if class := c.attributes.Get(name); class != nil {
			return class, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	class, err := absent(c.client.StorageV1().VolumeAttributesClasses().Get(ctx, name, metav1.GetOptions{}))
	if err != nil {
		return nil, fmt.Errorf("read volume attributes class %q: %w", name, err)
	}
	return class, nil
}
