package provisioner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/simtest"
	"github.com/berth-csi/berth/internal/worker"
	"github.com/berth-csi/berth/topology"
)

// line has something happen.
func (s *scenario) line(words []string) error {
	known := map[string]func([]string) error{
		"with": s.with, "class": s.class, "secret": s.secret, "node": s.node, "snapshot": s.snapshot, "claim": s.claim, "volume": s.volume,
		"delete": s.remove, "keep": s.policy(corev1.PersistentVolumeReclaimRetain), "discard": s.policy(corev1.PersistentVolumeReclaimDelete), "attach": s.attach, "spoil": s.spoilJournal,
		"driver": s.driverAnswers, "api": s.apiFails, "kill": s.killAt, "start": s.restart, "stop": s.shutDown, "replace": s.replace,
		"caches": s.caches, "kubernetes": s.kubernetes, "wait": s.wait, "work": s.work, "bind": s.bind, "binder": s.binder, "reschedule": s.reschedule, "lose": s.lose, "give": s.give, "free": s.free, "show": s.show,
	}
	do, ok := known[words[0]]
	if !ok {
		return fmt.Errorf("nobody knows the word %q", words[0])
	}
	err := do(words[1:])
	if s.c != nil && !s.stale {
		for _, feed := range s.feeds {
			for feed.behind() > 0 {
				feed.receive()
			}
			for len(feed.untold) > 0 {
				feed.tell()
			}
		}
	}
	return err
}

// options are the words after the first, KEY=VALUE or KEY.
func options(words []string) map[string]string {
	given := map[string]string{}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		given[key] = value
	}
	return given
}

func (s *scenario) create(kind simtest.Kind, object simtest.Object) error {
	_, err := s.server.Create(kind, object)
	return err
}

// with changes the settings, before anything runs.
func (s *scenario) with(words []string) error {
	for key := range options(words) {
		switch key {
		case "topology":
			s.settings.Driver.Topology, s.settings.ImmediateTopology = true, true
		case "zone-at-a-time":
			s.settings.TopologyLimit = 1
		case "express-binding":
			s.express = true
		case "short-names":
			s.settings.NameUUIDLength = 1
		default:
			return fmt.Errorf("there is no setting %q", key)
		}
	}
	return nil
}

func (s *scenario) class(words []string) error {
	given := options(words[1:])
	return s.create(simtest.Classes, makeClass(func(class *storagev1.StorageClass) {
		class.Name, class.Parameters = words[0], map[string]string{}
		if tier, ok := given["tier"]; ok {
			class.Parameters["tier"] = tier
		}
		if _, ok := given["late"]; ok {
			waitForFirstConsumer(class)
		}
		if _, ok := given["kept"]; ok {
			retain(class)
		}
		if name, ok := given["secret"]; ok {
			class.Parameters["csi.storage.k8s.io/provisioner-secret-name"] = name
			class.Parameters["csi.storage.k8s.io/provisioner-secret-namespace"] = simNamespace
		}
	}))
}

func (s *scenario) secret(words []string) error {
	return s.create(simtest.Secrets, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: simNamespace, Name: words[0]}, Data: map[string][]byte{"password": []byte("p")}})
}

func (s *scenario) node(words []string) error {
	if err := s.create(simtest.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: words[0], Labels: options(words[1:])}}); err != nil {
		return err
	}
	return s.create(simtest.CSINodes, &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: words[0]}, Spec: storagev1.CSINodeSpec{
		Drivers: []storagev1.CSINodeDriver{{Name: testDriver, NodeID: words[0], TopologyKeys: []string{"zone"}}},
	}})
}

func (s *scenario) snapshot(words []string) error {
	uid := types.UID(words[0])
	if err := s.create(simtest.Contents, makeContent(func(content *snapshotv1.VolumeSnapshotContent) { content.Spec.VolumeSnapshotRef.UID = uid })); err != nil {
		return err
	}
	return s.create(simtest.Snapshots, makeSnapshot(func(snapshot *snapshotv1.VolumeSnapshot) { snapshot.Name, snapshot.UID = words[0], uid }))
}

// claim makes one. The first of a name has the name as its UID, the next one NAME-2, so that volumes can be told apart.
func (s *scenario) claim(words []string) error {
	given, name := options(words[1:]), words[0]
	base := types.UID(name)
	s.uids[base]++
	uid := base
	if n := s.uids[base]; n > 1 {
		uid = types.UID(fmt.Sprintf("%s-%d", name, n))
	}
	class := "fast"
	return s.create(simtest.Claims, makeClaim(func(claim *corev1.PersistentVolumeClaim) {
		claim.Name, claim.UID, claim.ResourceVersion, claim.Spec.StorageClassName = name, uid, "", &class
		for key, value := range given {
			switch key {
			case "class":
				claim.Spec.StorageClassName = &value
			case "size":
				claim.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse(value)
			case "node":
				onNode(value)(claim)
			case "hint":
				annotated(topology.HintKey(testDriver), value)(claim)
			case "snapshot":
				fromSnapshot(claim)
				claim.Spec.DataSource.Name = value
			case "populator":
				fromPopulator(claim)
			case "clone-of":
				fromClaim(claim)
				claim.Spec.DataSource.Name = value
			}
		}
	}))
}

// volume makes the object of a volume by hand: volume NAME handle=HANDLE [for=CLAIM], or NAME without a handle for one of nobody's driver. It can have
// another size and be reserved for a claim that need not be there yet.
func (s *scenario) volume(words []string) error {
	given := options(words[1:])
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: words[0]}, Spec: corev1.PersistentVolumeSpec{
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, StorageClassName: "fast",
		Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data"}},
	}}
	if handle, ok := given["handle"]; ok {
		pv.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: handle}}
	}
	if size, ok := given["size"]; ok {
		pv.Spec.Capacity[corev1.ResourceStorage] = resource.MustParse(size)
	}
	if claim, ok := given["reserved"]; ok {
		pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: "ns", Name: claim}
	}
	if claim, ok := s.server.Find(simtest.Claims, "ns/"+given["for"]).(*corev1.PersistentVolumeClaim); ok {
		pv.Spec.ClaimRef = claimReference(claim)
	}
	return s.create(simtest.Volumes, pv)
}

// remove deletes an object: delete claim data.
func (s *scenario) remove(words []string) error {
	name := words[1]
	for _, kind := range scenarioKinds[words[0]] {
		key := map[simtest.Kind]string{
			simtest.Claims: "ns/" + name, simtest.Snapshots: "ns/" + name, simtest.Secrets: simNamespace + "/" + name,
		}[kind]
		if key == "" {
			key = name
		}
		if err := s.server.Delete(kind, key, name, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// scenarioKinds are the kinds of objects by the words for them.
var scenarioKinds = map[string][]simtest.Kind{
	"claim": {simtest.Claims}, "class": {simtest.Classes}, "secret": {simtest.Secrets}, "snapshot": {simtest.Snapshots}, "volume": {simtest.Volumes},
	"node": {simtest.Nodes, simtest.CSINodes}, "attachment": {simtest.Attachments},
}

// policy says what is to become of a volume when its claim is gone.
func (s *scenario) policy(policy corev1.PersistentVolumeReclaimPolicy) func([]string) error {
	return func(words []string) error {
		simtest.Change(s.server, simtest.Volumes, words[0], func(pv *corev1.PersistentVolume) { pv.Spec.PersistentVolumeReclaimPolicy = policy })
		return nil
	}
}

func (s *scenario) attach(words []string) error {
	return s.create(simtest.Attachments, &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "of-" + words[0]}, Spec: storagev1.VolumeAttachmentSpec{
		NodeName: "n1", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &words[0]},
	}})
}

// spoilJournal makes the entry of a claim something that nobody can read.
func (s *scenario) spoilJournal(words []string) error {
	simtest.Change(s.server, simtest.ConfigMaps, simNamespace+"/"+simJournal, func(page *corev1.ConfigMap) { page.BinaryData[words[0]] = []byte("?") })
	return nil
}

// driverAnswers says what the driver answers to the next call: driver create lost. "driver finishes" has what is under way done.
func (s *scenario) driverAnswers(words []string) error {
	switch words[0] {
	case "create":
		s.creates = append(s.creates, words[1:]...)
	case "delete":
		s.deletes = append(s.deletes, words[1:]...)
	case "finishes":
		for _, operation := range s.pending {
			_, _ = operation.Do(nil)
		}
		s.pending = nil
	default:
		return fmt.Errorf("the driver does not %s", words[0])
	}
	return nil
}

// apiFails says what becomes of the next call of a kind: api create volume lost. Or what is forbidden until further notice: api forbids journal.
func (s *scenario) apiFails(words []string) error {
	if words[0] == "forbids" {
		s.forbidden = strings.Join(words[1:], " ")
		return nil
	}
	last := len(words) - 1
	s.faults = append(s.faults, fault{call: strings.Join(words[:last], " "), how: words[last]})
	return nil
}

// killAt has the process killed before, or after, the next call of a kind: kill before create volume.
func (s *scenario) killAt(words []string) error {
	s.trap = strings.Join(words, " ")
	return nil
}

// restart has a provisioner lead, a new one if there was one before. It is killed first.
func (s *scenario) restart([]string) error {
	s.end()
	s.start()
	return nil
}

// shutDown has the provisioner stop in its own time.
func (s *scenario) shutDown([]string) error {
	s.kill()
	<-s.running // what is to be taken off the record is
	s.end()
	return nil
}

// replace has another provisioner take over without the one that leads noticing.
func (s *scenario) replace([]string) error {
	simtest.Change(s.server, simtest.ConfigMaps, simNamespace+"/"+simJournal, func(page *corev1.ConfigMap) {
		page.Annotations["berth.dev/journal-holder"] = "another"
	})
	return nil
}

// caches wait, or catch up.
func (s *scenario) caches(words []string) error {
	s.stale = words[0] == "wait"
	return nil
}

// kubernetes has Kubernetes' binder, its scheduler and its protection of objects in use do all that there is to do.
func (s *scenario) kubernetes([]string) error {
	w := &simWorld{Rand: rand.New(rand.NewPCG(1, 1)), server: s.server, settings: s.settings}
	for w.people.bind(w) || w.people.schedule(w) || w.people.protect(w) {
		continue
	}
	return nil
}

func (s *scenario) wait(words []string) error {
	d, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	time.Sleep(d)
	synctest.Wait()
	return nil
}

// work has the provisioner look at a claim (work data), at a volume (work volume pvc-data), or at a source (work snapshot snap).
func (s *scenario) work(words []string) error {
	if len(words) == 1 {
		claim := words[0]
		uid := types.UID(claim)
		if i := strings.LastIndex(claim, "-"); i > 0 {
			claim = claim[:i] // data-2 is the second claim data
		}
		return s.step(func(ctx context.Context) worker.Result {
			return s.c.workClaim(ctx, ClaimKey{Namespace: "ns", Name: claim, UID: uid})
		})
	}
	key := datasource.Key{Kind: datasource.Snapshot, Namespace: "ns", Name: words[1]}
	switch words[0] {
	case "volume":
		return s.step(func(ctx context.Context) worker.Result { return s.c.workVolume(ctx, volumeKey(words[1])) })
	case "source":
		key.Kind = datasource.Clone
	case "snapshot":
	default:
		return fmt.Errorf("nobody works on a %s", words[0])
	}
	return s.step(func(ctx context.Context) worker.Result { return s.c.workSource(ctx, key) })
}

// bind has the provisioner look at a claim that is to be bound: bind data.
func (s *scenario) bind(words []string) error {
	claim := words[0]
	uid := types.UID(claim)
	if i := strings.LastIndex(claim, "-"); i > 0 {
		claim = claim[:i]
	}
	return s.step(func(ctx context.Context) worker.Result {
		return s.c.workBinding(ctx, ClaimKey{Namespace: "ns", Name: claim, UID: uid})
	})
}

// binder has Kubernetes' binder make so many writes: binder 2.
func (s *scenario) binder(words []string) error {
	writes, err := strconv.Atoi(words[0])
	w := &simWorld{Rand: rand.New(rand.NewPCG(1, 1)), server: s.server, settings: s.settings}
	for range writes {
		w.people.bind(w)
	}
	return err
}

// give has Kubernetes' binder give a claim a volume: give data static.
func (s *scenario) give(words []string) error {
	var claim *corev1.PersistentVolumeClaim
	simtest.Change(s.server, simtest.Claims, "ns/"+words[0], func(changed *corev1.PersistentVolumeClaim) {
		changed.Spec.VolumeName = words[1]
		claim = changed
	})
	simtest.Change(s.server, simtest.Volumes, words[1], func(pv *corev1.PersistentVolume) {
		pv.Spec.ClaimRef, pv.Status.Phase = claimReference(claim), corev1.VolumeBound
	})
	return nil
}

// free has Kubernetes' binder say that a volume is nobody's: free imported.
func (s *scenario) free(words []string) error {
	simtest.Change(s.server, simtest.Volumes, words[0], func(pv *corev1.PersistentVolume) { pv.Status.Phase = corev1.VolumeAvailable })
	return nil
}

// lose has Kubernetes' binder call a claim lost, whose volume it has not heard of: lose data.
func (s *scenario) lose(words []string) error {
	simtest.Change(s.server, simtest.Claims, "ns/"+words[0], func(claim *corev1.PersistentVolumeClaim) {
		claim.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimLost}
	})
	return nil
}

// reschedule changes the node that is selected for a claim: reschedule data n2. Without a node, none is any more.
func (s *scenario) reschedule(words []string) error {
	simtest.Change(s.server, simtest.Claims, "ns/"+words[0], func(claim *corev1.PersistentVolumeClaim) {
		delete(claim.Annotations, "volume.kubernetes.io/selected-node")
		if len(words) > 1 {
			onNode(words[1])(claim)
		}
	})
	return nil
}

// show tells what there is.
func (s *scenario) show([]string) error {
	for _, object := range s.server.List(simtest.Claims) {
		claim, _ := object.(*corev1.PersistentVolumeClaim)
		words := []string{string(claim.Status.Phase)}
		if claim.Spec.VolumeName != "" {
			words = append(words, "to "+claim.Spec.VolumeName)
		}
		if node := selectedNode(claim); node != "" {
			words = append(words, "on "+node)
		}
		s.say("claim %s: %s", claim.Name, strings.Join(append(words, held(claim)...), ", "))
	}
	for _, object := range s.server.List(simtest.Volumes) {
		pv, _ := object.(*corev1.PersistentVolume)
		words := []string{string(pv.Status.Phase), string(pv.Spec.PersistentVolumeReclaimPolicy)}
		if pv.Spec.CSI != nil {
			words = append(words, pv.Spec.CSI.VolumeHandle)
		}
		s.say("volume %s: %s", pv.Name, strings.Join(append(words, held(pv)...), ", "))
	}
	for _, object := range s.server.List(simtest.Snapshots) {
		s.say("snapshot %s: %s", object.GetName(), strings.Join(append([]string{"there"}, held(object)...), ", "))
	}
	for _, volume := range s.driver.Volumes() {
		s.say("the driver has %s (%s)", volume.Handle, volume.Name)
	}
	if recorded := s.recorded(); len(recorded) > 0 {
		s.say("on record: %s", strings.Join(recorded, ", "))
	}
	if open := s.open(); len(open) > 0 {
		s.say("under way: %s", strings.Join(open, ", "))
	}
	return nil
}

// held says whether an object is on its way out, and whether one of our finalizers holds it.
func held(object metav1.Object) (words []string) {
	if object.GetDeletionTimestamp() != nil {
		words = append(words, "being deleted")
	}
	for _, finalizer := range object.GetFinalizers() {
		if slices.Contains([]string{FinalizerVolume, datasource.FinalizerClaim, datasource.FinalizerSnapshot}, finalizer) {
			words = append(words, "protected by us")
		}
	}
	return words
}

// recorded are the claims on record.
func (s *scenario) recorded() (uids []string) {
	for _, object := range s.server.List(simtest.ConfigMaps) {
		if page, ok := object.(*corev1.ConfigMap); ok && !strings.HasSuffix(page.Name, "-unreadable") {
			for uid := range page.BinaryData {
				uids = append(uids, uid)
			}
		}
	}
	slices.Sort(uids)
	return uids
}

// open are the claims with an attempt under way.
func (s *scenario) open() (claims []string) {
	if s.c == nil {
		return nil
	}
	for uid := range s.c.attempts.open {
		claims = append(claims, string(uid))
	}
	slices.Sort(claims)
	return claims
}
