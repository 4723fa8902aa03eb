package provisioner

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/simtest"
)

// simHistory is what the properties need to know of what happened.
type simHistory struct {
	mu         sync.Mutex
	asked      map[string]simAsked // by the volume's name
	unrecorded map[string]bool     // names of volumes that were asked for while the journal was degraded, which says that they can be lost
	theirs     map[int]bool        // numbers of volumes whose objects people took away: they are theirs to delete
	used       map[int]bool        // of those, the ones that a claim had: there is something on them
	bound      map[string]bool     // names of objects that a claim named
	revenants  map[types.UID]bool  // objects that were made by a write after the answer to it was given up
	// unprotected: sources may not be protected for once. A snapshot was forbidden to be written, which is believed at once; or their finalizers
	// were changed by a write that came after the answer to it was given up.
	unprotected bool
	read        struct{ volumes, claims int } // of the server's logs
}

// simAsked is what a driver was asked to make.
type simAsked struct {
	request string
	open    bool // the outcome is not known, or the volume is not stored or deleted yet
}

func newSimHistory() *simHistory {
	return &simHistory{asked: map[string]simAsked{}, unrecorded: map[string]bool{}, theirs: map[int]bool{}, used: map[int]bool{}, bound: map[string]bool{}, revenants: map[types.UID]bool{}}
}

func (h *simHistory) close(volume string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked, ok := h.asked[volume]; ok {
		asked.open = false
		h.asked[volume] = asked
	}
}

// checkCreate looks at a request as it arrives at the driver.
func (w *simWorld) checkCreate(p *simProcess, request *csipb.CreateVolumeRequest) {
	h, name, identity := w.history, request.GetName(), simtest.Identity(request)
	h.mu.Lock()
	if p.c.journal.Degraded() != "" {
		h.unrecorded[name] = true
	}
	before, excused := h.asked[name], h.unrecorded[name] || !w.strict
	h.asked[name] = simAsked{request: identity, open: true}
	h.mu.Unlock()
	if before.open && before.request != identity && !excused {
		w.problem("the request for volume %s changed while its outcome was unknown", name)
	}
	exists := slices.ContainsFunc(w.driver.Volumes(), func(v *simtest.Volume) bool { return v.Name == name })
	if w.settings.NameUUIDLength < 0 && w.wanted(name) && !exists {
		w.checkSource(request)
	}
}

// wanted reports whether there is a claim that waits for a volume. One without is only asked for to find out what became of it.
func (w *simWorld) wanted(volume string) bool {
	return slices.ContainsFunc(w.server.List(simtest.Claims), func(object simtest.Object) bool {
		claim, ok := object.(*corev1.PersistentVolumeClaim)
		return ok && w.settings.VolumeName(claim.UID) == volume && claim.Spec.VolumeName == ""
	})
}

// checkSource: what a volume is made from is there, and held.
func (w *simWorld) checkSource(request *csipb.CreateVolumeRequest) {
	source := request.GetVolumeContentSource()
	switch {
	case w.history.unprotected:
	case source.GetSnapshot() != nil:
		if snapshot := w.server.Find(simtest.Snapshots, "ns/snap"); snapshot == nil || !slices.Contains(snapshot.GetFinalizers(), datasource.FinalizerSnapshot) {
			w.problem("volume %s is made from a snapshot that is not protected", request.GetName())
		}
	case source.GetVolume() != nil:
		for _, pv := range w.volumesOf(source.GetVolume().GetVolumeId()) {
			if pv.Spec.ClaimRef == nil {
				continue
			}
			if claim := claimOf(w, pv); claim != nil && slices.Contains(claim.Finalizers, datasource.FinalizerClaim) {
				return
			}
		}
		w.problem("volume %s is made from a claim that is not protected", request.GetName())
	}
}

// volumesOf are the objects of a handle.
func (w *simWorld) volumesOf(handle string) (found []*corev1.PersistentVolume) {
	for _, object := range w.server.List(simtest.Volumes) {
		if pv, ok := object.(*corev1.PersistentVolume); ok && pv.Spec.CSI != nil && pv.Spec.CSI.VolumeHandle == handle {
			found = append(found, pv)
		}
	}
	return found
}

// checkDelete looks at a request as it arrives at the driver. It returns the name of the volume.
func (w *simWorld) checkDelete(p *simProcess, handle string) string {
	for _, pv := range w.volumesOf(handle) {
		if w.history.revenants[pv.UID] {
			continue // nobody can know of an object that comes so late
		}
		if pv.Status.Phase != corev1.VolumeReleased || pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete {
			w.problem("process %d deletes volume %s, which PersistentVolume %s refers to (%s, %s)", p.number, handle, pv.Name, pv.Status.Phase, pv.Spec.PersistentVolumeReclaimPolicy)
		}
		attachment, ok := w.server.Find(simtest.Attachments, "on-"+pv.Name).(*storagev1.VolumeAttachment)
		if ok && time.Since(attachment.CreationTimestamp.Time) > mostLag {
			w.problem("process %d deletes volume %s, which is attached", p.number, handle)
		}
	}
	h := w.history
	for _, volume := range w.driver.Volumes() {
		if volume.Handle != handle {
			continue
		}
		h.mu.Lock()
		used := h.used[volume.Number]
		h.mu.Unlock()
		switch {
		case w.settings.NameUUIDLength > 0: // a claim may be given the volume of another one that had the name before
		case slices.ContainsFunc(w.volumesOf(handle), func(pv *corev1.PersistentVolume) bool { return h.revenants[pv.UID] }):
		case used:
			w.problem("process %d deletes volume %s, which people keep", p.number, handle)
		}
		return volume.Name
	}
	return ""
}

// heard notes what a process knows now.
func (w *simWorld) heard(item *simItem, answer simAnswer) {
	if item.creates && answer.err != nil && csi.Classify(csi.CreateVolume, answer.err).Class != csi.Unknown {
		w.history.close(item.volume)
	}
}

// checkEffect looks at the world after something was done.
func (w *simWorld) checkEffect(item *simItem, answer simAnswer) {
	if answer.err == nil && item.operation != nil && !item.creates {
		w.history.close(item.volume)
	}
	if item.call != nil && item.call.Verb == "create" && item.call.Kind == simtest.Volumes {
		pv, _ := item.call.Object.(*corev1.PersistentVolume)
		objects := w.volumesOf(pv.Spec.CSI.VolumeHandle)
		if len(objects) > 0 {
			w.history.close(pv.Name) // whoever stored it
		}
		if answer.err == nil && len(objects) > 1 {
			w.problem("volume %s has two objects", pv.Spec.CSI.VolumeHandle)
		}
	}
	if problem := w.lost(false); problem != "" {
		w.problem("%s", problem)
	}
	names := map[string]int{}
	for _, volume := range w.driver.Volumes() {
		if w.history.theirs[volume.Number] || w.history.unrecorded[volume.Name] {
			continue
		}
		if names[volume.Name]++; names[volume.Name] > 1 {
			w.problem("there are two volumes %s", volume.Name)
		}
	}
}

// readLog learns which objects were taken away whose volumes stay.
func (w *simWorld) readLog() {
	h, log, claims := w.history, w.server.Log(simtest.Volumes), w.server.Log(simtest.Claims)
	h.mu.Lock()
	defer h.mu.Unlock()
	for ; h.read.claims < len(claims); h.read.claims++ {
		event := claims[h.read.claims]
		claim, ok := event.New.(*corev1.PersistentVolumeClaim)
		if !ok {
			continue
		}
		if claim.Spec.VolumeName != "" {
			h.bound[claim.Spec.VolumeName] = true
		}
		if old, ok := event.Old.(*corev1.PersistentVolumeClaim); ok {
			if problem := undone(old, claim); problem != "" {
				w.problem("%s", problem)
			}
		}
	}
	for ; h.read.volumes < len(log); h.read.volumes++ {
		old, _ := log[h.read.volumes].Old.(*corev1.PersistentVolume)
		if log[h.read.volumes].New != nil || old.Spec.CSI == nil || old.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete {
			continue
		}
		for _, volume := range w.driver.Volumes() {
			if volume.Handle == old.Spec.CSI.VolumeHandle {
				h.theirs[volume.Number] = true
				h.used[volume.Number] = h.used[volume.Number] || h.bound[old.Name]
			}
		}
	}
}

// undone says what of a binding was taken back by a write; empty: nothing.
func undone(old, claim *corev1.PersistentVolumeClaim) string {
	switch {
	case old.Spec.VolumeName != "" && claim.Spec.VolumeName != old.Spec.VolumeName:
		return fmt.Sprintf("claim %s (%s) was bound to %s, and then to %q", claim.Name, claim.UID, old.Spec.VolumeName, claim.Spec.VolumeName)
	case old.Status.Phase == corev1.ClaimBound && claim.Status.Phase != corev1.ClaimBound && claim.Status.Phase != corev1.ClaimLost:
		return fmt.Sprintf("claim %s (%s) was Bound, and then %s", claim.Name, claim.UID, claim.Status.Phase)
	}
	return ""
}

// checkBinding looks at what a process wrote to bind a claim, right after it was done.
func (w *simWorld) checkBinding(p *simProcess, before simtest.Object, call *simtest.Call, answer simtest.Object) {
	switch now := answer.(type) {
	case *corev1.PersistentVolumeClaim:
		old, _ := before.(*corev1.PersistentVolumeClaim)
		if now.Spec.VolumeName == "" || old == nil || old.Spec.VolumeName != "" && !call.Status {
			return // it was about something else
		}
		pv, _ := w.server.Find(simtest.Volumes, now.Spec.VolumeName).(*corev1.PersistentVolume)
		switch {
		case now.ResourceVersion == old.ResourceVersion:
			w.problem("process %d binds claim %s (%s) without need", p.number, now.Name, now.UID)
		case old.DeletionTimestamp != nil && old.Spec.VolumeName == "":
			w.problem("process %d binds claim %s (%s), which is being deleted", p.number, now.Name, now.UID)
		case pv != nil && (pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != now.UID):
			w.problem("process %d binds claim %s (%s) to %s, which is for %v", p.number, now.Name, now.UID, pv.Name, pv.Spec.ClaimRef)
		case now.Annotations[volumehelpers.AnnBindCompleted] == "" || now.Annotations[volumehelpers.AnnBoundByController] == "":
			w.problem("process %d binds claim %s (%s) and does not say so: %v", p.number, now.Name, now.UID, now.Annotations)
		case call.Status && pv != nil && now.Status.Capacity.Storage().Cmp(*pv.Spec.Capacity.Storage()) != 0:
			w.problem("process %d says of claim %s (%s) that it has %s, and its volume has %s", p.number, now.Name, now.UID, now.Status.Capacity.Storage(), pv.Spec.Capacity.Storage())
		}
	case *corev1.PersistentVolume:
		if old, _ := before.(*corev1.PersistentVolume); call.Status && old != nil && (old.ResourceVersion == now.ResourceVersion || old.Status.Phase != corev1.VolumePending) {
			w.problem("process %d gives volume %s the phase Bound, which is %s", p.number, now.Name, old.Status.Phase)
		}
	}
}

// lost says which volume nobody knows of: no object refers to it, and it is not on record. In the end, what is on record does not count.
func (w *simWorld) lost(end bool) string {
	w.readLog()
	h := w.history
	var recorded map[string]bool
	for _, volume := range w.driver.Volumes() {
		h.mu.Lock()
		excused := h.theirs[volume.Number] || h.unrecorded[volume.Name]
		h.mu.Unlock()
		if excused || len(w.volumesOf(volume.Handle)) > 0 {
			continue
		}
		if recorded == nil {
			recorded = w.recorded()
		}
		if end || !recorded[volume.Name] {
			return fmt.Sprintf("volume %s (%s) is lost", volume.Handle, volume.Name)
		}
	}
	return ""
}

// recorded are the names of the volumes on record.
func (w *simWorld) recorded() map[string]bool {
	names := map[string]bool{}
	for _, object := range w.server.List(simtest.ConfigMaps) {
		if page, ok := object.(*corev1.ConfigMap); ok && strings.HasPrefix(page.Name, simJournal) {
			for uid := range page.BinaryData {
				names[w.settings.VolumeName(types.UID(uid))] = true
			}
		}
	}
	return names
}

// quiesce ends all trouble, has everything happen that still can, and looks at what is left.
func (w *simWorld) quiesce() {
	w.calm = true
	w.trace("calm")
	w.forbidden = false
	for _, p := range slices.Clone(w.running) {
		if p != w.leader || !w.strict { // one that could not read the journal when its term began does not know what is in it
			w.kill(p)
		}
	}
	complaint := ""
	for _, pause := range simPauses {
		w.drain()
		if w.people.repair(w, pause > time.Minute) {
			w.drain()
		}
		if complaint = w.unsettled(); complaint == "" || w.failed() {
			return
		}
		w.await(pause)
	}
	w.problem("in the end: %s", complaint)
}

// simPauses are waited for in turn: for backoffs, for the journal to be tidied, and for what is tried again after an hour.
var simPauses = []time.Duration{
	time.Second, time.Second, 5 * time.Second, 30 * time.Second, time.Minute, time.Minute, time.Minute, 5 * time.Minute, 5 * time.Minute,
	time.Hour, 5 * time.Minute, 5 * time.Minute, time.Hour, 5 * time.Minute, 5 * time.Minute, 5 * time.Minute,
}

// drain has everything happen that needs no time.
func (w *simWorld) drain() {
	for range 5000 {
		w.settle()
		switch {
		case w.failed():
			return
		case len(w.late) > 0:
			w.finishLate()
		case w.waiting() > 0 && w.chance(.6):
			w.release(w.take(w.IntN(w.waiting())))
		case w.news():
		case w.waiting() > 0:
			w.release(w.take(w.IntN(w.waiting())))
		case w.people.controllersStep(w):
		case w.leader == nil:
			w.start()
		default:
			return
		}
	}
	w.problem("it never comes to rest")
}

// repair puts right what nobody could provision with, and deletes the claims for which that cannot be done.
func (s *simPeople) repair(w *simWorld, patience bool) bool {
	for _, class := range simClasses {
		s.makeClass(w, class)
	}
	s.makeSecret(w)
	for _, node := range simNodes {
		s.makeNode(w, node)
	}
	repaired := false
	for _, object := range w.server.List(simtest.Volumes) {
		if object.GetLabels()["from"] == "backup" && object.GetDeletionTimestamp() == nil {
			simDelete(w, simtest.Volumes, object.GetName())
			repaired = true
		}
	}
	for _, volume := range w.driver.Volumes() {
		if patience && w.history.theirs[volume.Number] && len(w.volumesOf(volume.Handle)) == 0 {
			w.trace("user: delete volume %s, at the driver", volume.Handle)
			if operation, err := w.driver.BeginDelete(volume.Handle); err == nil {
				_, _ = operation.Do(nil)
			}
		}
	}
	for _, object := range w.server.List(simtest.Claims) {
		claim, ok := object.(*corev1.PersistentVolumeClaim)
		if ok && patience && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil && s.hopeless(w, claim) {
			simDelete(w, simtest.Claims, "ns/"+claim.Name)
			repaired = true
		}
	}
	return repaired
}

// hopeless reports whether a claim cannot get a volume as things are, and rightly so.
func (s *simPeople) hopeless(w *simWorld, claim *corev1.PersistentVolumeClaim) bool {
	if stored, ok := w.server.Find(simtest.Volumes, w.settings.VolumeName(claim.UID)).(*corev1.PersistentVolume); ok {
		return stored.DeletionTimestamp != nil || !isFor(stored, claim.UID)
	}
	for _, volume := range w.driver.Volumes() {
		if volume.Name == w.settings.VolumeName(claim.UID) && w.history.theirs[volume.Number] {
			return true // that of an earlier object, which people took away, or of a claim that had the name before
		}
	}
	switch reference, _ := datasource.Resolve(claim); reference.Kind {
	case datasource.Snapshot:
		snapshot := w.server.Find(simtest.Snapshots, "ns/snap")
		return snapshot == nil || snapshot.GetDeletionTimestamp() != nil
	case datasource.Clone:
		source, _ := w.server.Find(simtest.Claims, "ns/"+reference.Name).(*corev1.PersistentVolumeClaim)
		if source == nil || source.DeletionTimestamp != nil || source.Spec.VolumeName == "" {
			return true
		}
		pv, _ := w.server.Find(simtest.Volumes, source.Spec.VolumeName).(*corev1.PersistentVolume)
		return pv == nil || pv.Spec.CSI == nil || pv.Status.Phase != corev1.VolumeBound
	case datasource.None, datasource.Populator:
	}
	return false
}

// unsettled says what is not as it has to be when nothing more happens; empty: all is well.
func (w *simWorld) unsettled() string {
	if problem := w.lost(true); problem != "" {
		return problem
	}
	for _, object := range w.server.List(simtest.Claims) {
		claim, _ := object.(*corev1.PersistentVolumeClaim)
		switch {
		case claim.DeletionTimestamp != nil:
			return fmt.Sprintf("claim %s (%s) cannot be deleted: %v", claim.Name, claim.UID, claim.Finalizers)
		case slices.Contains(claim.Finalizers, datasource.FinalizerClaim):
			return fmt.Sprintf("claim %s (%s) is still protected", claim.Name, claim.UID)
		case claim.Spec.VolumeName == "":
			return fmt.Sprintf("claim %s (%s) has no volume", claim.Name, claim.UID)
		case claim.Status.Phase != corev1.ClaimBound && w.server.Find(simtest.Volumes, claim.Spec.VolumeName) != nil:
			return fmt.Sprintf("claim %s (%s) has volume %s and is %s", claim.Name, claim.UID, claim.Spec.VolumeName, claim.Status.Phase)
		}
	}
	handles := map[string]bool{}
	for _, volume := range w.driver.Volumes() {
		handles[volume.Handle] = true
	}
	for _, object := range w.server.List(simtest.Volumes) {
		pv, _ := object.(*corev1.PersistentVolume)
		if pv.Spec.CSI == nil {
			continue
		}
		switch {
		case pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete && pv.Status.Phase != corev1.VolumeBound:
			return fmt.Sprintf("PersistentVolume %s is left (%s)", pv.Name, pv.Status.Phase)
		case pv.Status.Phase == corev1.VolumeBound && !handles[pv.Spec.CSI.VolumeHandle]:
			return fmt.Sprintf("PersistentVolume %s is bound and has no volume behind it", pv.Name)
		}
	}
	if snapshot := w.server.Find(simtest.Snapshots, "ns/snap"); snapshot != nil && slices.Contains(snapshot.GetFinalizers(), datasource.FinalizerSnapshot) {
		return "the snapshot is still protected"
	}
	if recorded := w.recorded(); len(recorded) > 0 {
		return fmt.Sprintf("the journal still has %v", recorded)
	}
	if open := w.leader.c.attempts.count(); open > 0 {
		return fmt.Sprintf("%d attempts are open", open)
	}
	return ""
}
