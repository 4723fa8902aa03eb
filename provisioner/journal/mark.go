package journal

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

// AnnotationNode on a page names the node whose instance of the driver the journal is of.
const AnnotationNode = "berth.dev/journal-node"

// mark is what pages carry beside their entries.
//
// A page without entries belongs to its owner and goes with it: of nodes that are taken away nothing is left. One with entries belongs to nobody. It
// stays as what is known of volumes that may exist on a node that is gone, and if the node comes back its instance finds out. The change goes along
// with the write that puts the first entry on the page, or takes the last one off.
type mark struct {
	label, node, holder string
	owner               *metav1.OwnerReference // nil: pages belong to nobody
}

func (m *mark) annotations() map[string]string {
	all := map[string]string{AnnotationHolder: m.holder}
	if m.node != "" {
		all[AnnotationNode] = m.node
	}
	return all
}

// owners are those of a page with so many entries.
func (m *mark) owners(entries int) []metav1.OwnerReference {
	if m.owner == nil || entries > 0 {
		return nil
	}
	return []metav1.OwnerReference{*m.owner}
}

// page is a page as it is made.
func (m *mark) page(name string, entries map[string][]byte) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{Label: m.label}, Annotations: m.annotations(), OwnerReferences: m.owners(len(entries)),
		},
		BinaryData: maps.Clone(entries),
	}
}

// create makes a page.
func (m *mark) create(ctx context.Context, configMaps corev1client.ConfigMapInterface, name string, entries map[string][]byte) (*corev1.ConfigMap, error) {
	stored, err := configMaps.Create(ctx, m.page(name, entries), metav1.CreateOptions{})
	if apierrors.IsForbidden(err) && len(m.owners(len(entries))) > 0 { // some clusters want the right to delete of whoever says whose an object is
		m.owner = nil
		stored, err = configMaps.Create(ctx, m.page(name, entries), metav1.CreateOptions{})
	}
	return stored, err
}

// changed returns the owners that a page with so many entries is to have, if it has others.
func (m *mark) changed(have []metav1.OwnerReference, entries int) (owners []metav1.OwnerReference, differ bool) {
	if m.owner == nil {
		return nil, false
	}
	owners = m.owners(entries)
	differ = !slices.EqualFunc(have, owners, func(a, b metav1.OwnerReference) bool { return a.UID == b.UID })
	return owners, differ
}
