package datasource

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	gatewayclientset "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
)

// GrantWatch knows the cluster's reference grants, while their API is served and we may list and watch them. It is only needed with the
// feature gate CrossNamespaceVolumeDataSource. Its objects are trimmed and shared: they must not be changed.
type GrantWatch struct {
	client gatewayclientset.Interface
	mirror mirror[*gatewayv1beta1.ReferenceGrant]
}

// NewGrantWatch makes a GrantWatch. It looks again every retry interval for an API that was not there; 0: 30 s.
func NewGrantWatch(client gatewayclientset.Interface, retry time.Duration) *GrantWatch {
	return &GrantWatch{client: client, mirror: mirror[*gatewayv1beta1.ReferenceGrant]{
		what:   "ReferenceGrants",
		retry:  retry,
		client: client,
		list: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.GatewayV1beta1().ReferenceGrants(metav1.NamespaceAll).List(ctx, options)
		},
		watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return client.GatewayV1beta1().ReferenceGrants(metav1.NamespaceAll).Watch(ctx, options)
		},
		example:  &gatewayv1beta1.ReferenceGrant{},
		trim:     trimGrant,
		indexers: cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
	}}
}

// Run watches until ctx ends, and returns when its goroutines are gone. It must be called once.
func (w *GrantWatch) Run(ctx context.Context) { w.mirror.run(ctx) }

// AddEventHandler adds a handler, on the same terms as SnapshotWatch's. It must be called before Run.
func (w *GrantWatch) AddEventHandler(handler cache.ResourceEventHandler) {
	w.mirror.handlers = append(w.mirror.handlers, handler)
}

// Synced reports whether all grants are known. That may never be so, and change at any time: readiness must not depend on it.
func (w *GrantWatch) Synced() bool { return w.mirror.all() != nil }

// List returns the grants of one namespace: from memory, or else by one live read. Served is false if the cluster has no such API.
func (w *GrantWatch) List(ctx context.Context, namespace string) (grants []*gatewayv1beta1.ReferenceGrant, served bool, err error) {
	if all := w.mirror.all(); all != nil {
		return indexed[*gatewayv1beta1.ReferenceGrant](all, cache.NamespaceIndex, namespace), true, nil
	}
	list, served, err := live(ctx, func(ctx context.Context) (*gatewayv1beta1.ReferenceGrantList, error) {
		return w.client.GatewayV1beta1().ReferenceGrants(namespace).List(ctx, metav1.ListOptions{})
	})
	if err != nil {
		return nil, false, fmt.Errorf("list ReferenceGrants of namespace %q: %w", namespace, err)
	}
	if list == nil { // that a list is not found means the API is not, however it is said
		return nil, false, nil
	}
	for i := range list.Items {
		grants = append(grants, &list.Items[i])
	}
	return grants, served, nil
}

// trimGrant keeps what a grant permits.
func trimGrant(grant *gatewayv1beta1.ReferenceGrant) *gatewayv1beta1.ReferenceGrant {
	return &gatewayv1beta1.ReferenceGrant{ObjectMeta: identity(grant.ObjectMeta), Spec: grant.Spec}
}
