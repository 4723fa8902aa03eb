package state

import (
	"fmt"
	"maps"
	"time"
)

// Begin decides a creation. It returns the existing volume, or a refusal, or a new volume for which room is reserved and
// nothing is recorded yet: its caller makes what stands behind it and then calls Commit, or Abandon if that came to
// nothing. Calls for one name must not overlap.
func (s *Store) Begin(want NewVolume, id string, now time.Time) (existing, fresh *Volume, no *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	facts := createFacts{want: want, pools: s.pools, existing: s.volumes[s.names[want.Name]]}
	facts.sourceBytes, facts.sourceFound = s.source(want.Source)
	existing, place, bytes, no := decideCreate(facts)
	if existing != nil || no != nil {
		return existing, nil, no
	}
	s.pools.Reserve(place.Key, bytes)
	s.lastSeq++
	return nil, &Volume{
		Seq: s.lastSeq, ID: id, Name: want.Name, Bytes: bytes, Segments: place.Segments,
		Capabilities: want.Capabilities, Parameters: want.Parameters,
		CreatedWith: want.MutableParameters, MutableParameters: want.MutableParameters,
		Source: want.Source, Created: now,
	}, nil
}

func (s *Store) source(of Source) (int64, bool) {
	if v, ok := s.volumes[of.VolumeID]; ok {
		return v.Bytes, true
	}
	if snap, ok := s.snapshots[of.SnapshotID]; ok {
		return snap.Bytes, true
	}
	return 0, false
}

// Abandon gives back the room of a volume that will not be.
func (s *Store) Abandon(fresh *Volume) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools.Release(fresh.pool(), fresh.Bytes)
}

// Commit records a new volume. If it fails the volume does not exist and its room is given back.
func (s *Store) Commit(fresh *Volume) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The reservation turns into the volume's own share, which recording takes.
	s.pools.Release(fresh.pool(), fresh.Bytes)
	if err := s.commit(record{Volume: fresh}); err != nil {
		return fmt.Errorf("record volume %s: %w", fresh.ID, err)
	}
	return nil
}

// Delete forgets a volume. One that does not exist is forgotten already.
func (s *Store) Delete(id string) (gone *Volume, no *Refusal, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[id]
	if !ok {
		return nil, nil, nil
	}
	if len(v.Published) > 0 {
		return nil, refuse(InUse, "volume %q is published to node %q", id, v.Nodes()[0]), nil
	}
	if len(v.Targets) > 0 {
		return nil, refuse(InUse, "volume %q is published on node", id), nil
	}
	if err := s.commit(record{DeleteVolume: id}); err != nil {
		return nil, nil, fmt.Errorf("record deletion of volume %s: %w", id, err)
	}
	return v, nil, nil
}

// Expand makes a volume larger, or leaves it if it is large enough. unpublishedOnly refuses one that is in use.
func (s *Store) Expand(id string, r Range, use *Capability, unpublishedOnly bool) (*Volume, *Refusal, error) {
	return s.change(id, func(v *Volume) (*Volume, *Refusal) {
		if use != nil && !v.Supports(*use) {
			return nil, refuse(Unsupported, "volume %q was not created with this volume capability", id)
		}
		p, known := s.pools.Get(v.pool())
		bytes, no := decideExpand(v, r, p, known)
		if no != nil || bytes == v.Bytes {
			return v, no
		}
		if unpublishedOnly && len(v.Published) > 0 {
			return nil, refuse(InUse, "volume %q is published to node %q and does not expand online", id, v.Nodes()[0])
		}
		next := *v
		next.Bytes = bytes
		return &next, nil
	})
}

// Modify sets mutable parameters; those not named stay as they are.
func (s *Store) Modify(id string, parameters map[string]string) (*Volume, *Refusal, error) {
	return s.change(id, func(v *Volume) (*Volume, *Refusal) {
		next := *v
		next.MutableParameters = maps.Clone(v.MutableParameters)
		if next.MutableParameters == nil {
			next.MutableParameters = map[string]string{}
		}
		maps.Copy(next.MutableParameters, parameters)
		if maps.Equal(next.MutableParameters, v.MutableParameters) {
			return v, nil
		}
		return &next, nil
	})
}

// Publish publishes a volume to a node that holds at most nodeMax volumes (0 for any number).
func (s *Store) Publish(id, node string, how Publication, nodeMax int64) (*Volume, *Refusal, error) {
	return s.change(id, func(v *Volume) (*Volume, *Refusal) {
		var has int64
		if nodeMax > 0 {
			for _, other := range s.volumes {
				if _, ok := other.Published[node]; ok {
					has++
				}
			}
		}
		already, no := decidePublish(v, node, how, has, nodeMax)
		if no != nil || already {
			return v, no
		}
		next := *v
		next.Published = with(v.Published, node, how)
		return &next, nil
	})
}

// Unpublish takes a volume from a node, or from all nodes if none is named.
func (s *Store) Unpublish(id, node string) (*Volume, *Refusal, error) {
	return s.change(id, func(v *Volume) (*Volume, *Refusal) {
		next := *v
		if node != "" {
			next.Published = without(v.Published, node)
		} else {
			next.Published = nil
		}
		if len(next.Published) == len(v.Published) {
			return v, nil
		}
		return &next, nil
	})
}

// AddTarget publishes a volume at a path of this node.
func (s *Store) AddTarget(id, path string, how Publication) (*Volume, *Refusal, error) {
	return s.change(id, func(v *Volume) (*Volume, *Refusal) {
		already, no := decideTarget(v, path, how)
		if no != nil || already {
			return v, no
		}
		next := *v
		next.Targets = with(v.Targets, path, how)
		return &next, nil
	})
}

// RemoveTarget takes a volume from a path of this node.
func (s *Store) RemoveTarget(id, path string) (*Volume, *Refusal, error) {
	return s.change(id, func(v *Volume) (*Volume, *Refusal) {
		if _, ok := v.Targets[path]; !ok {
			return v, nil
		}
		next := *v
		next.Targets = without(v.Targets, path)
		return &next, nil
	})
}

// change replaces a volume's record by what decide makes of it. decide returns the same record to change nothing; it
// must not write to the one it is given, and runs under the lock.
func (s *Store) change(id string, decide func(*Volume) (*Volume, *Refusal)) (*Volume, *Refusal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.volumes[id]
	if !ok {
		return nil, refuse(NotFound, "volume %q does not exist", id), nil
	}
	next, no := decide(v)
	if no != nil {
		return nil, no, nil
	}
	if next == v {
		return v, nil, nil
	}
	if err := s.commit(record{Volume: next}); err != nil {
		return nil, nil, fmt.Errorf("record volume %s: %w", id, err)
	}
	return next, nil, nil
}

func with(m map[string]Publication, key string, value Publication) map[string]Publication {
	next := map[string]Publication{key: value}
	for k, v := range m {
		if k != key {
			next[k] = v
		}
	}
	return next
}

func without(m map[string]Publication, key string) map[string]Publication {
	next := maps.Clone(m)
	delete(next, key)
	return next
}
