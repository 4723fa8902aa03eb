package state

import (
	"fmt"
	"time"
)

// NewSnapshot is what a snapshot's creation asks for.
type NewSnapshot struct {
	Name           string
	SourceVolumeID string
	Parameters     map[string]string
}

// BeginSnapshot decides the creation of a snapshot: the existing one, a refusal, or a new one that CommitSnapshot will
// record. Snapshots take no room in their pool (they share everything with their source, as thin snapshots do).
func (s *Store) BeginSnapshot(want NewSnapshot, id string, now time.Time) (existing, fresh *Snapshot, no *Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.snapshots[s.snapNames[want.Name]]; ok {
		if old.SourceVolumeID != want.SourceVolumeID {
			return nil, nil, refuse(Incompatible, "snapshot %q exists of another volume: %q", want.Name, old.SourceVolumeID)
		}
		return old, nil, nil
	}
	v, ok := s.volumes[want.SourceVolumeID]
	if !ok {
		return nil, nil, refuse(NotFound, "source volume %q does not exist", want.SourceVolumeID)
	}
	s.lastSeq++
	return nil, &Snapshot{
		Seq: s.lastSeq, ID: id, Name: want.Name, SourceVolumeID: v.ID, Bytes: v.Bytes, Parameters: want.Parameters, Created: now,
	}, nil
}

// CommitSnapshot records a new snapshot.
func (s *Store) CommitSnapshot(fresh *Snapshot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(record{Snapshot: fresh}); err != nil {
		return fmt.Errorf("record snapshot %s: %w", fresh.ID, err)
	}
	return nil
}

// DeleteSnapshot forgets a snapshot. One that does not exist is forgotten already.
func (s *Store) DeleteSnapshot(id string) (gone *Snapshot, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap, ok := s.snapshots[id]
	if !ok {
		return nil, nil
	}
	if err := s.commit(record{DeleteSnapshot: id}); err != nil {
		return nil, fmt.Errorf("record deletion of snapshot %s: %w", id, err)
	}
	return snap, nil
}
