package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	// Label on a page names the journal that it belongs to.
	Label = "berth.dev/journal"
	// AnnotationHolder on a page names the term of the leader that writes it.
	AnnotationHolder = "berth.dev/journal-holder"

	// maxPage is how much an entry may fill a page up to. The API server's limit for a ConfigMap is 1 MiB.
	maxPage = 700 << 10
	// writeTimeout bounds one write.
	writeTimeout = 10 * time.Second
)

// ErrTakenOver says that another leader writes the journal. Whatever is done now must not be done.
var ErrTakenOver = errors.New("another leader has taken over the journal")

// page is one ConfigMap as it is stored, as far as we know. Only the writer uses it.
type page struct {
	name     string
	exists   bool
	version  string // resourceVersion
	ours     bool   // it carries our holder
	changed  bool   // somebody else wrote it since we did
	owners   []metav1.OwnerReference
	contents map[string]int // key -> size of its value
	size     int            // of all values
}

func newPage(name string) *page {
	return &page{name: name, contents: map[string]int{}}
}

// read makes the page what is stored.
func (p *page) read(stored *corev1.ConfigMap, holder string) {
	p.exists, p.version = true, stored.ResourceVersion
	p.ours = stored.Annotations[AnnotationHolder] == holder
	p.owners = stored.OwnerReferences
	clear(p.contents)
	p.size = 0
	for key, value := range stored.BinaryData {
		p.contents[key] = len(value)
		p.size += len(value)
	}
}

// change is what one write does to a page.
type change struct {
	add    map[string][]byte
	remove []string
}

func (c change) empty() bool { return len(c.add) == 0 && len(c.remove) == 0 }

// write stores a change. It is a patch of the keys that change and, by the version it names, of nothing that somebody else has written: that
// is a conflict, and the page is read again. An error of the API server's that leaves open whether the patch was done shows in the
// same way at the next try.
func (p *page) write(ctx context.Context, configMaps corev1client.ConfigMapInterface, m *mark, c change) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if !p.exists {
		return p.create(ctx, configMaps, m, c)
	}
	data := make(map[string]any, len(c.add)+len(c.remove))
	for _, key := range c.remove {
		data[key] = nil
	}
	for key, value := range c.add {
		data[key] = value
	}
	meta := map[string]any{"resourceVersion": p.version}
	if !p.ours {
		meta["annotations"] = m.annotations()
	}
	owners, owning := m.changed(p.owners, p.after(c))
	if owning {
		meta["ownerReferences"] = owners
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta, "binaryData": data})
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	stored, err := configMaps.Patch(ctx, p.name, types.MergePatchType, patch, metav1.PatchOptions{})
	switch {
	case err == nil:
		p.read(stored, m.holder)
		return nil
	case apierrors.IsNotFound(err): // deleted by hand
		*p = *newPage(p.name)
		p.changed = true
		return p.create(ctx, configMaps, m, c)
	case apierrors.IsConflict(err):
		return p.reread(ctx, configMaps, m.holder, err)
	case apierrors.IsForbidden(err) && owning: // some clusters want the right to delete of whoever says whose an object is
		m.owner = nil
		return p.write(ctx, configMaps, m, c)
	}
	return err
}

// after is how many entries the page has after a change.
func (p *page) after(c change) int {
	entries := len(p.contents)
	for key := range c.add {
		if _, there := p.contents[key]; !there {
			entries++
		}
	}
	for _, key := range c.remove {
		if _, there := p.contents[key]; there {
			entries--
		}
	}
	return entries
}

func (p *page) create(ctx context.Context, configMaps corev1client.ConfigMapInterface, m *mark, c change) error {
	stored, err := m.create(ctx, configMaps, p.name, c.add)
	switch {
	case err == nil:
		p.read(stored, m.holder)
		return nil
	case apierrors.IsAlreadyExists(err):
		return p.reread(ctx, configMaps, m.holder, err)
	}
	return err
}

// reread finds out who wrote the page. If it was us, in a write that we did not hear of, or somebody by hand, the next try builds on what is there.
func (p *page) reread(ctx context.Context, configMaps corev1client.ConfigMapInterface, holder string, cause error) error {
	wasOurs := p.ours
	p.changed = true
	stored, err := configMaps.Get(ctx, p.name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read page %s again: %w", p.name, err)
	}
	p.read(stored, holder)
	if wasOurs && !p.ours {
		return fmt.Errorf("page %s: %w (%s)", p.name, ErrTakenOver, stored.Annotations[AnnotationHolder])
	}
	return cause
}
