package kube

import (
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// shared makes one of what is the same in many objects: where volumes are accessible from, how large they are, how they are annotated, and names of classes,
// drivers, namespaces and the like. Objects of an informer are never
// changed, so they may share it; 100,000 volumes in 5,000 places would otherwise have it 100,000 times. Safe for concurrent use.
type shared struct {
	mu          sync.Mutex
	affinities  map[string]*corev1.VolumeNodeAffinity
	capacities  map[string]corev1.ResourceList
	annotations map[string]map[string]string
	lists       map[string][]string
	texts       map[string]string
}

// A full table is begun anew: what it had stays where it is used. What is long when it is not the same in many gets a smaller one, so that the table never
// takes more than it spares.
const (
	sharedLimit = 50_000
	longLimit   = 1_000
)

func newShared() *shared {
	return &shared{
		affinities: map[string]*corev1.VolumeNodeAffinity{}, capacities: map[string]corev1.ResourceList{},
		annotations: map[string]map[string]string{}, lists: map[string][]string{}, texts: map[string]string{},
	}
}

// text returns an equal one. It is for what few objects have to themselves.
func (s *shared) text(t string) string {
	if t == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return one(s.texts, sharedLimit, t, t)
}

// list returns one with the same elements in the same order.
func (s *shared) list(l []string) []string {
	if len(l) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return one(s.lists, longLimit, strings.Join(l, "\x00"), l)
}

// labels returns one with the same entries.
func (s *shared) labels(all map[string]string) map[string]string {
	if len(all) == 0 {
		return nil
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		key.WriteString(name + "\x00" + all[name] + "\x00")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return one(s.annotations, longLimit, key.String(), all)
}

// words has the entries of one that is an object's own share their words with others'.
func (s *shared) words(all map[string]string) map[string]string {
	words := make(map[string]string, len(all))
	for name, value := range all {
		words[s.text(name)] = s.text(value)
	}
	return words
}

// affinity returns one that is equal.
func (s *shared) affinity(a *corev1.VolumeNodeAffinity) *corev1.VolumeNodeAffinity {
	if a == nil {
		return nil
	}
	encoded, err := a.Marshal()
	if err != nil {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return one(s.affinities, sharedLimit, string(encoded), a)
}

// capacity returns one with the same storage, and nothing else.
func (s *shared) capacity(c corev1.ResourceList) corev1.ResourceList {
	storage, ok := c[corev1.ResourceStorage]
	if !ok {
		return nil
	}
	key := storage.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.capacities[key]; ok {
		return known
	}
	return one(s.capacities, sharedLimit, key, corev1.ResourceList{corev1.ResourceStorage: storage})
}

func one[T any](table map[string]T, limit int, key string, fresh T) T {
	if known, ok := table[key]; ok {
		return known
	}
	if len(table) >= limit {
		clear(table)
	}
	table[key] = fresh
	return fresh
}
