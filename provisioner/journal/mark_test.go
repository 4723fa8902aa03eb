package journal

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func ofNode(config *Config) {
	config.Name, config.Label, config.Node = "driver-journal-n1", "driver-journal", "n1"
	config.Owner = &metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: "node-uid"}
}

// loaded reads what is on record.
func loaded(t *testing.T, j *Journal) []*Entry {
	t.Helper()
	entries, unreadable, err := j.Load(t.Context())
	if err != nil || len(unreadable) > 0 {
		t.Fatal(err, unreadable)
	}
	return entries
}

func storedPage(t *testing.T, client *fake.Clientset) *corev1.ConfigMap {
	t.Helper()
	stored, err := client.CoreV1().ConfigMaps("system").Get(t.Context(), "driver-journal-n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// A page goes with its node, unless something is on record.
func TestAPageWithoutEntriesBelongsToItsOwner(t *testing.T) {
	client := fake.NewClientset()
	j := makeJournal(client, "first", ofNode)
	loaded(t, j)
	empty := storedPage(t, client)
	if len(empty.OwnerReferences) != 1 || empty.OwnerReferences[0].UID != "node-uid" || empty.Labels[Label] != "driver-journal" || empty.Annotations[AnnotationNode] != "n1" {
		t.Errorf("a new page is %+v", empty.ObjectMeta)
	}
	entry := makeEntry(1)
	packed, err := encode(entry)
	if err != nil {
		t.Fatal(err)
	}
	change1 := change{add: map[string][]byte{string(entry.UID()): packed}}
	if err := j.pages[0].write(t.Context(), j.config.ConfigMaps, &j.mark, change1); err != nil {
		t.Fatal(err)
	}
	if owners := storedPage(t, client).OwnerReferences; len(owners) != 0 {
		t.Errorf("with an entry it is of %v", owners)
	}

	// The next process of the node finds it as it is, and the node's object made anew.
	next := makeJournal(client, "second", ofNode, func(config *Config) { config.Owner.UID = "new-uid" })
	if entries := loaded(t, next); len(entries) != 1 {
		t.Fatalf("the next one finds %d entries", len(entries))
	}
	if owners := storedPage(t, client).OwnerReferences; len(owners) != 0 {
		t.Errorf("when it is taken over it is of %v", owners)
	}
	if err := next.pages[0].write(t.Context(), next.config.ConfigMaps, &next.mark, change{remove: []string{string(entry.UID())}}); err != nil {
		t.Fatal(err)
	}
	if owners := storedPage(t, client).OwnerReferences; len(owners) != 1 || owners[0].UID != "new-uid" {
		t.Errorf("without entries it is of %v", owners)
	}
	third := makeJournal(client, "third", ofNode)
	loaded(t, third)
	if owners := storedPage(t, client).OwnerReferences; len(owners) != 1 || owners[0].UID != "node-uid" {
		t.Errorf("an empty page that is taken over is of %v", owners)
	}
}

// Some clusters want the right to delete an object of whoever says whose it is.
func TestWithoutTheRightToSetOwnersThereAreNone(t *testing.T) {
	for _, verb := range []string{"create", "patch"} {
		t.Run(verb, func(t *testing.T) {
			client := fake.NewClientset()
			if verb == "patch" { // the page is there
				loaded(t, makeJournal(client, "before", func(config *Config) { config.Name = "driver-journal-n1" }))
			}
			client.PrependReactor("*", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
				owned := false
				switch a := action.(type) {
				case clienttesting.CreateAction:
					made, _ := a.GetObject().(*corev1.ConfigMap)
					owned = len(made.OwnerReferences) > 0
				case clienttesting.PatchAction:
					owned = strings.Contains(string(a.GetPatch()), `"ownerReferences":[`)
				}
				if !owned {
					return false, nil, nil
				}
				return true, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "x", errors.New("cannot set an ownerRef on a resource you can't delete"))
			})
			j := makeJournal(client, "first", ofNode)
			loaded(t, j)
			if j.Degraded() != "" {
				t.Fatalf("the journal is degraded: %s", j.Degraded())
			}
			entry := makeEntry(1)
			packed, err := encode(entry)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []change{{add: map[string][]byte{string(entry.UID()): packed}}, {remove: []string{string(entry.UID())}}} {
				if err := j.pages[0].write(t.Context(), j.config.ConfigMaps, &j.mark, c); err != nil {
					t.Error(err)
				}
			}
			if owners := storedPage(t, client).OwnerReferences; len(owners) != 0 {
				t.Errorf("it is of %v", owners)
			}
		})
	}
}
