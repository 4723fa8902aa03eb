package explain

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	volumehelpers "k8s.io/component-helpers/storage/volume"
)

// place reads where the claim's volume may be, and what was published about room there.
func (g *Gatherer) place(ctx context.Context, r *reads, facts *Facts) {
	if facts.Driver == "" {
		return
	}
	if node := facts.Claim.Annotations[volumehelpers.AnnSelectedNode]; node != "" {
		facts.Node = g.node(ctx, r, node)
		facts.CSINode = one(ctx, r, "the CSINode", func(ctx context.Context) (*storagev1.CSINode, error) {
			return g.Client.StorageV1().CSINodes().Get(ctx, node, metav1.GetOptions{})
		})
	} else {
		facts.Nodes = g.nodes(ctx, r, facts.Driver)
	}
	g.rooms(ctx, r, facts)
}

func (g *Gatherer) node(ctx context.Context, r *reads, name string) Look[map[string]string] {
	node := one(ctx, r, "the Node", func(ctx context.Context) (*metav1.PartialObjectMetadata, error) {
		return g.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("nodes")).Get(ctx, name, metav1.GetOptions{})
	})
	look := Look[map[string]string]{Sight: node.Sight}
	if node.Sight == Seen {
		look.Value = node.Value.Labels
	}
	return look
}

// nodes joins Nodes and CSINodes. Of Nodes only the metadata travels: the rest is twenty times as much.
func (g *Gatherer) nodes(ctx context.Context, r *reads, driver string) Look[[]NodeFacts] {
	registrations := many(ctx, r, "the CSINodes", manyPages, metav1.ListOptions{},
		paged(g.Client.StorageV1().CSINodes().List, func(l *storagev1.CSINodeList) []storagev1.CSINode { return l.Items }), nil)
	if registrations.Sight != Seen {
		return Look[[]NodeFacts]{Sight: registrations.Sight}
	}
	nodes := many(ctx, r, "the Nodes", manyPages, metav1.ListOptions{},
		paged(g.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("nodes")).List,
			func(l *metav1.PartialObjectMetadataList) []metav1.PartialObjectMetadata { return l.Items }), nil)
	if nodes.Sight != Seen {
		return Look[[]NodeFacts]{Sight: nodes.Sight}
	}
	byName := map[string]*storagev1.CSINode{}
	for i := range registrations.Value {
		byName[registrations.Value[i].Name] = &registrations.Value[i]
	}
	look := Look[[]NodeFacts]{Sight: Seen, Partial: registrations.Partial || nodes.Partial}
	for i := range nodes.Value {
		node := NodeFacts{Name: nodes.Value[i].Name, Labels: nodes.Value[i].Labels}
		node.Keys, node.Registered = registration(byName[node.Name], driver)
		look.Value = append(look.Value, node)
	}
	return look
}

// rooms reads what was published for the class. The objects are labelled with the driver's name, and cannot be selected by their class.
func (g *Gatherer) rooms(ctx context.Context, r *reads, facts *Facts) {
	class := volumehelpers.GetPersistentVolumeClaimClass(facts.Claim)
	options := metav1.ListOptions{LabelSelector: labels.Set{labelDriverName: facts.Driver}.String()}
	facts.Rooms = many(ctx, r, "the CSIStorageCapacities", manyPages, options,
		paged(g.Client.StorageV1().CSIStorageCapacities(g.DriverNamespace).List,
			func(l *storagev1.CSIStorageCapacityList) []storagev1.CSIStorageCapacity { return l.Items }),
		func(object *storagev1.CSIStorageCapacity) bool { return object.StorageClassName == class })
}

// missing looks around for a claim that is not where it was looked for.
func (g *Gatherer) missing(ctx context.Context, r *reads, facts *Facts) {
	claims := g.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"))
	facts.Missing.Namespace = one(ctx, r, "the namespace", func(ctx context.Context) (*metav1.PartialObjectMetadata, error) {
		return g.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, facts.Namespace, metav1.GetOptions{})
	})
	others := many(ctx, r, "the other claims of the namespace", 1, metav1.ListOptions{},
		paged(claims.Namespace(facts.Namespace).List, func(l *metav1.PartialObjectMetadataList) []metav1.PartialObjectMetadata { return l.Items }), nil)
	facts.Missing.Others = Look[[]string]{Sight: others.Sight, Partial: others.Partial}
	for i := range others.Value {
		facts.Missing.Others.Value = append(facts.Missing.Others.Value, others.Value[i].Name)
	}
	// One request, and the API server selects: only claims of that very name are returned.
	byName := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", facts.Name).String()}
	elsewhere := many(ctx, r, "claims of other namespaces", 1, byName,
		paged(claims.List, func(l *metav1.PartialObjectMetadataList) []metav1.PartialObjectMetadata { return l.Items }),
		func(claim *metav1.PartialObjectMetadata) bool { return claim.Name == facts.Name })
	facts.Missing.Elsewhere = Look[[]string]{Sight: elsewhere.Sight}
	for i := range elsewhere.Value {
		facts.Missing.Elsewhere.Value = append(facts.Missing.Elsewhere.Value, elsewhere.Value[i].Namespace)
	}
}
