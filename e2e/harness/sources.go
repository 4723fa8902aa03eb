package harness

import (
	"context"
	_ "embed"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	"sigs.k8s.io/yaml"
)

// Source is what a claim is made from, as dataSourceRef names it.
type Source struct {
	// Group is empty for a claim, and for other kinds of the core group.
	Group, Kind string
	// Namespace is empty for the claim's own. Another needs the feature gate CrossNamespaceVolumeDataSource of the
	// API server, which otherwise drops it.
	Namespace, Name string
}

// SnapshotGroup is the API group of VolumeSnapshot.
const SnapshotGroup = "snapshot.storage.k8s.io"

// SnapshotSource is a VolumeSnapshot; an empty namespace is the claim's.
func SnapshotSource(namespace, name string) Source {
	return Source{Group: SnapshotGroup, Kind: "VolumeSnapshot", Namespace: namespace, Name: name}
}

// ClaimSource is another claim; an empty namespace is the claim's.
func ClaimSource(namespace, name string) Source {
	return Source{Kind: "PersistentVolumeClaim", Namespace: namespace, Name: name}
}

// From is an edit of Claim that fills in dataSourceRef. Without a namespace the API server fills in dataSource as well, if
// the kind is one it knows.
func From(source Source) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		ref := &corev1.TypedObjectReference{Kind: source.Kind, Name: source.Name}
		if source.Group != "" {
			ref.APIGroup = &source.Group
		}
		if source.Namespace != "" {
			ref.Namespace = &source.Namespace
		}
		claim.Spec.DataSourceRef = ref
	}
}

// FromSnapshot is an edit of Claim that fills in dataSource, the older of the two fields, with a snapshot of its
// namespace. The API server fills in the other.
func FromSnapshot(name string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.DataSource = &corev1.TypedLocalObjectReference{
			APIGroup: new(SnapshotGroup), Kind: "VolumeSnapshot", Name: name,
		}
	}
}

// FromClaim is FromSnapshot for a clone.
func FromClaim(name string) func(*corev1.PersistentVolumeClaim) {
	return func(claim *corev1.PersistentVolumeClaim) {
		claim.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: name}
	}
}

// Grant is what a ReferenceGrant permits.
type Grant struct {
	// From is the namespace whose claims may refer to something here.
	From string
	// Group and Kind of what they may refer to, and its name; no name is all of them.
	Group, Kind, Name string
}

// ReferenceGrant in the namespace of the sources.
func ReferenceGrant(namespace, name string, grant Grant) *gatewayv1beta1.ReferenceGrant {
	to := gatewayv1beta1.ReferenceGrantTo{
		Group: gatewayv1beta1.Group(grant.Group), Kind: gatewayv1beta1.Kind(grant.Kind),
	}
	if grant.Name != "" {
		to.Name = new(gatewayv1beta1.ObjectName(grant.Name))
	}
	return &gatewayv1beta1.ReferenceGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: gatewayv1beta1.ReferenceGrantSpec{
			From: []gatewayv1beta1.ReferenceGrantFrom{{
				Kind: "PersistentVolumeClaim", Namespace: gatewayv1beta1.Namespace(grant.From),
			}},
			To: []gatewayv1beta1.ReferenceGrantTo{to},
		},
	}
}

//go:embed crds/gateway.networking.k8s.io_referencegrants.yaml
var referenceGrantDefinition []byte

// InstallReferenceGrants installs the definition of ReferenceGrant, if it is missing, and returns a client for them once
// they are served. A control plane has the definitions of snapshots from the start, but not this one.
func InstallReferenceGrants(ctx context.Context, c *ControlPlane) (gatewayclient.Interface, error) {
	definition := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(referenceGrantDefinition, definition); err != nil {
		return nil, fmt.Errorf("definition of ReferenceGrant: %w", err)
	}
	config := c.Config()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	_, err = untyped.Resource(definitions).Create(ctx, definition, metav1.CreateOptions{})
	if err = unlessExists(err); err != nil {
		return nil, fmt.Errorf("install definition of ReferenceGrant: %w", err)
	}
	client, err := gatewayclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	err = Eventually(ctx, "ReferenceGrants are served", func(ctx context.Context) error {
		_, err := client.GatewayV1beta1().ReferenceGrants(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
	return client, err
}
