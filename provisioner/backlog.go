package provisioner

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The binder keeps a store of volumes of its own, which its one worker for volumes fills in the order of events; while that worker waits for its
// rate limit, a volume can be in the cluster for minutes before the binder knows of it. A claim that says it is bound to such a volume is
// called Lost by the other worker (syncBoundClaim of pv_controller.go), with an event that its data is lost. It gets over that by itself at the
// next resync after it has met the volume, but people should never see it. So nobody's claim is bound by us
//
//   - before the volume has been there for a while (headStart), and
//   - while there are volumes that the binder has to write something about, and has not.

// headStart is how long a volume has to be there before we bind its claim. An idle binder needs a few milliseconds to do it all by itself, which
// saves everybody a conflict. Its resync, every 15 s, has its workers walk through everything there is, a volume taking some 10 µs.
func headStart(volumes int) time.Duration {
	return 100*time.Millisecond + time.Duration(volumes)*20*time.Microsecond
}

// binderStalled is how long a binder may do nothing about what it owes before we take it for stopped. One that is stopped
// calls nothing lost, and one that starts reads all volumes before it looks at the first claim (initializeCaches).
const binderStalled = 15 * time.Second

// backlog is what the binder has to write about volumes and has not yet.
type backlog struct {
	now func() time.Time

	mu      sync.Mutex
	owed    map[string]bool // names of volumes
	stirred time.Time       // when it last wrote one of them, or was first given one
}

func newBacklog() *backlog { return &backlog{now: time.Now, owed: map[string]bool{}} }

// note notes whether the binder has to write something about a volume.
func (b *backlog) note(volume string, owes bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case owes && len(b.owed) == 0, !owes && b.owed[volume]:
		b.stirred = b.now()
	}
	if owes {
		b.owed[volume] = true
	} else {
		delete(b.owed, volume)
	}
}

// behind reports whether the binder is busy with other volumes.
func (b *backlog) behind() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.owed) > 0 && b.now().Sub(b.stirred) < binderStalled
}

// owesPhase reports whether the binder has yet to give a volume another phase (syncVolume of pv_controller.go). claim is the one of the name that
// the volume refers to; nil: there is none.
func owesPhase(pv *corev1.PersistentVolume, claim *corev1.PersistentVolumeClaim) bool {
	ref := pv.Spec.ClaimRef
	switch phase := pv.Status.Phase; {
	case ref == nil || ref.UID == "":
		return phase != corev1.VolumeAvailable
	case claim == nil || claim.UID != ref.UID:
		return phase != corev1.VolumeReleased && phase != corev1.VolumeFailed
	case claim.Spec.VolumeName == pv.Name:
		return phase != corev1.VolumeBound
	}
	return false // it waits for its claim, or is surplus: then its driver's deletion ends it
}
