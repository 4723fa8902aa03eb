package kube

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// shared makes one of what is the same in many volumes: where they are accessible from, and how large they are. Objects of an informer are never
// changed, so they may share it; 100,000 volumes in 5,000 places would otherwise have it 100,000 times. Safe for concurrent use.
type shared struct {
	mu         sync.Mutex
	affinities map[string]*corev1.VolumeNodeAffinity
	capacities map[string]corev1.ResourceList
}

// sharedLimit bounds each table. A full one is begun anew: what it had stays where it is used.
const sharedLimit = 50_000

func newShared() *shared {
	return &shared{affinities: map[string]*corev1.VolumeNodeAffinity{}, capacities: map[string]corev1.ResourceList{}}
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
	return one(s.affinities, string(encoded), a)
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
	return one(s.capacities, key, corev1.ResourceList{corev1.ResourceStorage: storage})
}

func one[T any](table map[string]T, key string, fresh T) T {
	if known, ok := table[key]; ok {
		return known
	}
	if len(table) >= sharedLimit {
		clear(table)
	}
	table[key] = fresh
	return fresh
}
