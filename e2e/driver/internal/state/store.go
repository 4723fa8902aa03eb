package state

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/berth-csi/berth/e2e/driver/internal/pool"
)

// Store is the volumes, snapshots and pools of a driver, in memory and in a log.
type Store struct {
	lock *os.File // held for as long as the process lives

	mu        sync.Mutex
	journal   *journal
	pools     *pool.Table
	volumes   map[string]*Volume   // by id
	names     map[string]string    // volume ids by name
	snapshots map[string]*Snapshot // by id
	snapNames map[string]string    // snapshot ids by name
	lastSeq   int64
}

// Open replays the log of a state directory into the pools as they are configured now. A directory serves one process
// at a time; the kernel frees it when the process dies, however it dies.
func Open(dir string, specs []pool.Spec) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	pools, err := pool.NewTable(specs)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("state directory %s is in use by another process", dir)
	}
	s := &Store{
		lock: lock, pools: pools,
		volumes: map[string]*Volume{}, names: map[string]string{},
		snapshots: map[string]*Snapshot{}, snapNames: map[string]string{},
	}
	if s.journal, err = openJournal(filepath.Join(dir, "state.log"), s.apply); err != nil {
		lock.Close()
		return nil, fmt.Errorf("replay state: %w", err)
	}
	return s, nil
}

// Close ends writing and gives the directory free. Call it when no call is under way any more.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.journal.close()
	s.lock.Close()
	return err
}

// apply takes a record over into memory; it is the only place where that happens, for new records and replayed ones.
func (s *Store) apply(r record) error {
	switch {
	case r.Volume != nil:
		v := r.Volume
		if old, ok := s.volumes[v.ID]; ok {
			s.pools.Release(old.pool(), old.Bytes)
		}
		s.pools.Reserve(v.pool(), v.Bytes)
		s.volumes[v.ID] = v
		s.names[v.Name] = v.ID
		s.lastSeq = max(s.lastSeq, v.Seq)
	case r.Snapshot != nil:
		s.snapshots[r.Snapshot.ID] = r.Snapshot
		s.snapNames[r.Snapshot.Name] = r.Snapshot.ID
		s.lastSeq = max(s.lastSeq, r.Snapshot.Seq)
	case r.DeleteVolume != "":
		if v, ok := s.volumes[r.DeleteVolume]; ok {
			s.pools.Release(v.pool(), v.Bytes)
			delete(s.volumes, v.ID)
			delete(s.names, v.Name)
		}
	case r.DeleteSnapshot != "":
		if snap, ok := s.snapshots[r.DeleteSnapshot]; ok {
			delete(s.snapshots, snap.ID)
			delete(s.snapNames, snap.Name)
		}
	default:
		return fmt.Errorf("a record of no known kind")
	}
	return nil
}

// commit records a change: on file first, then in memory. The caller holds the lock.
func (s *Store) commit(r record) error {
	line, err := encode(r)
	if err != nil {
		return err
	}
	if err := s.journal.append(line); err != nil {
		return err
	}
	if err := s.apply(r); err != nil {
		return err
	}
	if live := len(s.volumes) + len(s.snapshots); s.journal.lines > 2*live+compactSlack {
		if err := s.compact(); err != nil {
			return fmt.Errorf("compact state: %w", err)
		}
	}
	return nil
}

// compactSlack is how many outdated lines the log may hold beyond as many as it has live ones. Each compaction is paid
// for by at least as many changes as lines it writes.
const compactSlack = 4096

func (s *Store) compact() error {
	records := make([]record, 0, len(s.volumes)+len(s.snapshots))
	for _, v := range bySeq(maps.Values(s.volumes)) {
		records = append(records, record{Volume: v})
	}
	for _, snap := range bySeq(maps.Values(s.snapshots)) {
		records = append(records, record{Snapshot: snap})
	}
	return s.journal.rewrite(records)
}

// Volume returns a volume by id, or nil.
func (s *Store) Volume(id string) *Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.volumes[id]
}

// Snapshot returns a snapshot by id, or nil.
func (s *Store) Snapshot(id string) *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshots[id]
}

// Volumes lists all volumes in the order of their creation.
func (s *Store) Volumes() []*Volume {
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.volumes))
	s.mu.Unlock()
	return bySeq(slices.Values(list))
}

// Snapshots lists all snapshots in the order of their creation.
func (s *Store) Snapshots() []*Snapshot {
	s.mu.Lock()
	list := slices.Collect(maps.Values(s.snapshots))
	s.mu.Unlock()
	return bySeq(slices.Values(list))
}

// Pools lists the pools as they stand.
func (s *Store) Pools() []pool.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools.List()
}

// Capacity sums up the pools that serve a topology term, or all of them if it is nil.
func (s *Store) Capacity(term map[string]string) pool.Capacity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools.Capacity(term)
}

// Resize gives pools other sizes, all or none: the first unknown segment is returned as a refusal. The sizes last until
// the process ends; the next one goes by its configuration.
func (s *Store) Resize(sizes map[pool.Key]int64) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(sizes)) {
		if _, ok := s.pools.Get(key); !ok {
			return refuse(NotFound, "there is no pool %s", key)
		}
	}
	for key, size := range sizes {
		s.pools.Resize(key, size)
	}
	return nil
}

func (v *Volume) seq() int64   { return v.Seq }
func (s *Snapshot) seq() int64 { return s.Seq }

func bySeq[T interface{ seq() int64 }](items iter.Seq[T]) []T {
	return slices.SortedFunc(items, func(a, b T) int { return cmp.Compare(a.seq(), b.seq()) })
}
