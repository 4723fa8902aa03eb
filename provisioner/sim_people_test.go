package provisioner

import (
	"fmt"
	"slices"

	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/internal/simtest"
)

// simPeople are the users and administrators. What they do, they do to the API server itself.
type simPeople struct {
	uids    int
	tiers   int // of classes: each has another parameter
	imports int // of kept volumes
	budget  int
}

// Names of what there is. The classes differ in what matters: when a volume is bound, whether it is kept, and whether it takes a secret.
var (
	simClaims  = []string{"a", "b", "c", "d"}
	simClasses = []string{"fast", "late", "kept", "locked"}
	simNodes   = []string{"n1", "n2"}
)

func (s *simPeople) begin(w *simWorld) {
	s.budget = 5 + w.IntN(30)
	for _, name := range simClasses {
		s.makeClass(w, name)
	}
	s.makeSecret(w)
	for _, name := range simNodes {
		s.makeNode(w, name)
	}
	s.makeSnapshot(w)
	for _, name := range simClaims[:1+w.IntN(3)] {
		s.makeClaim(w, name)
	}
}

func simCreate(w *simWorld, kind simtest.Kind, object simtest.Object) {
	if _, err := w.server.Create(kind, object); err == nil {
		w.trace("user: create %s %s", kind, simtest.Key(object.GetNamespace(), object.GetName()))
	}
}

func simDelete(w *simWorld, kind simtest.Kind, key string) {
	if object := w.server.Find(kind, key); object != nil {
		_ = w.server.Delete(kind, key, object.GetName(), metav1.DeleteOptions{})
		w.trace("user: delete %s %s", kind, key)
	}
}

func (s *simPeople) makeClass(w *simWorld, name string) {
	s.tiers++
	simCreate(w, simtest.Classes, makeClass(parameters("tier", fmt.Sprint(s.tiers)), func(class *storagev1.StorageClass) {
		class.Name = name
		switch name {
		case "late":
			waitForFirstConsumer(class)
		case "kept":
			retain(class)
		case "locked":
			class.Parameters["csi.storage.k8s.io/provisioner-secret-name"] = "key"
			class.Parameters["csi.storage.k8s.io/provisioner-secret-namespace"] = simNamespace
		}
	}))
}

func (s *simPeople) makeSecret(w *simWorld) {
	simCreate(w, simtest.Secrets, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: simNamespace, Name: "key"}, Data: map[string][]byte{"k": []byte("v")}})
}

func (s *simPeople) makeNode(w *simWorld, name string) {
	if !w.settings.Driver.Topology {
		return
	}
	simCreate(w, simtest.Nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"zone": name}}})
	simCreate(w, simtest.CSINodes, &storagev1.CSINode{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: storagev1.CSINodeSpec{
		Drivers: []storagev1.CSINodeDriver{{Name: testDriver, NodeID: name, TopologyKeys: []string{"zone"}}},
	}})
}

func (s *simPeople) makeSnapshot(w *simWorld) {
	if w.server.Find(simtest.Snapshots, "ns/snap") != nil {
		return
	}
	simDelete(w, simtest.Contents, "content")
	uid := s.newUID(simtest.Snapshots)
	simCreate(w, simtest.Snapshots, makeSnapshot(func(snapshot *snapshotv1.VolumeSnapshot) { snapshot.UID = uid }))
	simCreate(w, simtest.Contents, makeContent(func(content *snapshotv1.VolumeSnapshotContent) { content.Spec.VolumeSnapshotRef.UID = uid }))
}

func (s *simPeople) makeClaim(w *simWorld, name string) {
	class := simClasses[w.IntN(len(simClasses))]
	change := func(*corev1.PersistentVolumeClaim) {}
	switch w.IntN(5) {
	case 0:
		change = fromSnapshot
	case 1:
		if source := simClaims[w.IntN(len(simClaims))]; source != name {
			change = func(claim *corev1.PersistentVolumeClaim) {
				fromClaim(claim)
				claim.Spec.DataSource.Name = source
			}
		}
	}
	simCreate(w, simtest.Claims, makeClaim(change, func(claim *corev1.PersistentVolumeClaim) {
		claim.Name, claim.UID, claim.Spec.StorageClassName = name, "", &class
		if w.chance(.5) {
			claim.Annotations = map[string]string{} // the controller-manager gives it to us
		}
	}))
}

// userStep has somebody do something.
func (s *simPeople) userStep(w *simWorld) bool {
	if s.budget == 0 {
		return false
	}
	s.budget--
	claim := simClaims[w.IntN(len(simClaims))]
	switch dice := w.IntN(100); {
	case dice < 35:
		s.makeClaim(w, claim)
	case dice < 60:
		simDelete(w, simtest.Claims, "ns/"+claim)
	case dice < 70:
		class := simClasses[w.IntN(len(simClasses))]
		simDelete(w, simtest.Classes, class)
		if w.chance(.8) {
			s.makeClass(w, class)
		}
	case dice < 76:
		simDelete(w, simtest.Secrets, simNamespace+"/key")
		if w.chance(.5) {
			s.makeSecret(w)
		}
	case dice < 82:
		node := simNodes[w.IntN(len(simNodes))]
		simDelete(w, simtest.Nodes, node)
		simDelete(w, simtest.CSINodes, node)
		if w.chance(.5) {
			s.makeNode(w, node)
		}
	case dice < 86:
		simDelete(w, simtest.Snapshots, "ns/snap")
	case dice < 88:
		s.makeSnapshot(w)
	default:
		s.administer(w)
	}
	return true
}

// administer does something to a volume's object that only an administrator may do.
func (s *simPeople) administer(w *simWorld) {
	volumes := w.server.List(simtest.Volumes)
	if len(volumes) == 0 {
		s.takeName(w)
		return
	}
	pv, ok := volumes[w.IntN(len(volumes))].(*corev1.PersistentVolume)
	if !ok || pv.Spec.CSI == nil {
		return
	}
	switch w.IntN(7) {
	case 0: // keep the volume, while it is in use
		if pv.Status.Phase == corev1.VolumeBound {
			w.trace("user: keep %s", pv.Name)
			simtest.Change(w.server, simtest.Volumes, pv.Name, func(pv *corev1.PersistentVolume) {
				pv.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			})
		}
	case 1: // take the object away, and import the volume
		if pv.Status.Phase == corev1.VolumeReleased && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
			simDelete(w, simtest.Volumes, pv.Name)
			if w.server.Find(simtest.Volumes, pv.Name) == nil && w.chance(.5) {
				s.imports++
				simCreate(w, simtest.Volumes, &corev1.PersistentVolume{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("imported-%d", s.imports)},
					Spec: corev1.PersistentVolumeSpec{
						PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, StorageClassName: "imported",
						PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: pv.Spec.CSI.VolumeHandle}},
					},
				})
			}
		}
	case 2: // a volume that no finalizer of ours holds
		if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain {
			simDelete(w, simtest.Volumes, pv.Name)
		}
	case 3: // delete the object as well
		if pv.Status.Phase != corev1.VolumePending {
			simDelete(w, simtest.Volumes, pv.Name)
		}
	case 4: // by hand
		s.makeStatic(w)
	case 6: // from a backup
		s.takeName(w)
	case 5:
		if w.settings.Driver.PublishUnpublish && pv.Status.Phase == corev1.VolumeBound {
			simCreate(w, simtest.Attachments, &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "on-" + pv.Name}, Spec: storagev1.VolumeAttachmentSpec{
				NodeName: "n1", Source: storagev1.VolumeAttachmentSource{PersistentVolumeName: &pv.Name},
			}})
		}
	}
}

// takeName makes an object of the name that the volume of some claim is going to have.
func (s *simPeople) takeName(w *simWorld) {
	simAny(w, simtest.Claims, func(claim *corev1.PersistentVolumeClaim) bool {
		if claim.Spec.VolumeName != "" {
			return false
		}
		simCreate(w, simtest.Volumes, &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: w.settings.VolumeName(claim.UID), Labels: map[string]string{"from": "backup"}},
			Spec: corev1.PersistentVolumeSpec{
				PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, StorageClassName: "imported",
				PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: testDriver, VolumeHandle: "of-long-ago"}},
			},
		})
		return true
	})
}

// makeStatic makes a volume by hand, which a claim may be bound to instead of one of ours.
func (s *simPeople) makeStatic(w *simWorld) {
	s.imports++
	simCreate(w, simtest.Volumes, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("static-%d", s.imports)},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			StorageClassName: simClasses[w.IntN(len(simClasses))], PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data"}},
		},
	})
}

// controllersStep has one of Kubernetes' own controllers do one thing that there is to do. It reports false if there is nothing.
func (s *simPeople) controllersStep(w *simWorld) bool {
	steps := []func(*simWorld) bool{s.bind, s.bind, s.bind, s.schedule, s.protect, s.detach}
	first := w.IntN(len(steps))
	for i := range steps {
		if steps[(first+i)%len(steps)](w) {
			return true
		}
	}
	return false
}

// any calls do with the objects of a kind, from a random one on, until it has done something.
func simAny[T simtest.Object](w *simWorld, kind simtest.Kind, do func(T) bool) bool {
	objects := w.server.List(kind)
	if len(objects) == 0 {
		return false
	}
	first := w.IntN(len(objects))
	for i := range objects {
		if object, ok := objects[(first+i)%len(objects)].(T); ok && do(object) {
			return true
		}
	}
	return false
}

// claimOf is the claim that a volume is for; nil if it is gone.
func claimOf(w *simWorld, pv *corev1.PersistentVolume) *corev1.PersistentVolumeClaim {
	claim, ok := w.server.Find(simtest.Claims, simtest.Key(pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name)).(*corev1.PersistentVolumeClaim)
	if !ok || claim.UID != pv.Spec.ClaimRef.UID {
		return nil
	}
	return claim
}

// bind is the controller-manager's binder: one write at a time, as it makes them.
func (s *simPeople) bind(w *simWorld) bool {
	if w.noBinder && !w.calm {
		return false
	}
	return simAny(w, simtest.Volumes, func(pv *corev1.PersistentVolume) bool { return s.bindVolume(w, pv) }) ||
		simAny(w, simtest.Claims, func(claim *corev1.PersistentVolumeClaim) bool { return s.bindClaim(w, claim) })
}

func (s *simPeople) bindVolume(w *simWorld, pv *corev1.PersistentVolume) bool {
	phase := func(to corev1.PersistentVolumePhase) bool {
		if pv.Status.Phase == to {
			return false
		}
		w.trace("binder: %s is %s", pv.Name, to)
		return simtest.Change(w.server, simtest.Volumes, pv.Name, func(pv *corev1.PersistentVolume) { pv.Status.Phase = to })
	}
	if pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID == "" {
		return phase(corev1.VolumeAvailable)
	}
	claim := claimOf(w, pv)
	switch {
	case claim == nil:
		return phase(corev1.VolumeReleased)
	case claim.Spec.VolumeName == pv.Name:
		return phase(corev1.VolumeBound)
	case claim.Spec.VolumeName == "" && pv.DeletionTimestamp != nil:
		return false
	case claim.Spec.VolumeName == "":
		if phase(corev1.VolumeBound) {
			return true
		}
		w.trace("binder: claim %s (%s) has %s", claim.Name, claim.UID, pv.Name)
		return simtest.Change(w.server, simtest.Claims, "ns/"+claim.Name, func(claim *corev1.PersistentVolumeClaim) {
			claim.Spec.VolumeName = pv.Name
			if claim.Annotations == nil {
				claim.Annotations = map[string]string{}
			}
			claim.Annotations[volumehelpers.AnnBindCompleted], claim.Annotations[volumehelpers.AnnBoundByController] = "yes", "yes"
		})
	case pv.Annotations[AnnotationProvisionedBy] != "" && pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete:
		return phase(corev1.VolumeReleased) // bound elsewhere: nobody needs it
	}
	w.trace("binder: %s is for nobody any more", pv.Name)
	return simtest.Change(w.server, simtest.Volumes, pv.Name, func(pv *corev1.PersistentVolume) {
		pv.Spec.ClaimRef = nil
		pv.Status.Phase = corev1.VolumeAvailable
	})
}

func (s *simPeople) bindClaim(w *simWorld, claim *corev1.PersistentVolumeClaim) bool {
	change := func(f func(*corev1.PersistentVolumeClaim)) bool {
		return simtest.Change(w.server, simtest.Claims, "ns/"+claim.Name, f)
	}
	if claim.Spec.VolumeName != "" {
		phase := corev1.ClaimBound
		pv, _ := w.server.Find(simtest.Volumes, claim.Spec.VolumeName).(*corev1.PersistentVolume)
		if pv == nil {
			pv, phase = &corev1.PersistentVolume{}, corev1.ClaimLost
		}
		if claim.Status.Phase == phase {
			return false
		}
		return change(func(claim *corev1.PersistentVolumeClaim) {
			claim.Status.Phase, claim.Status.Capacity, claim.Status.AccessModes = phase, pv.Spec.Capacity, pv.Spec.AccessModes
		})
	}
	class, _ := w.server.Find(simtest.Classes, *claim.Spec.StorageClassName).(*storagev1.StorageClass)
	if class == nil || delayed(class) && selectedNode(claim) == "" {
		return false
	}
	if volume := s.matching(w, claim); volume != "" {
		w.trace("binder: %s is for claim %s", volume, claim.Name)
		return simtest.Change(w.server, simtest.Volumes, volume, func(pv *corev1.PersistentVolume) { pv.Spec.ClaimRef = claimReference(claim) })
	}
	if claim.Annotations[volumehelpers.AnnStorageProvisioner] != "" {
		return false
	}
	return change(func(claim *corev1.PersistentVolumeClaim) {
		if claim.Annotations == nil {
			claim.Annotations = map[string]string{}
		}
		claim.Annotations[volumehelpers.AnnStorageProvisioner] = testDriver
	})
}

// matching is a volume made by hand that a claim can have.
func (s *simPeople) matching(w *simWorld, claim *corev1.PersistentVolumeClaim) string {
	for _, object := range w.server.List(simtest.Volumes) {
		pv, _ := object.(*corev1.PersistentVolume)
		if ref := pv.Spec.ClaimRef; ref != nil && ref.UID == claim.UID && pv.DeletionTimestamp == nil {
			return "" // it has one
		}
	}
	for _, object := range w.server.List(simtest.Volumes) {
		pv, _ := object.(*corev1.PersistentVolume)
		if pv.Status.Phase == corev1.VolumeAvailable && pv.Spec.ClaimRef == nil && pv.Spec.CSI == nil && pv.Spec.StorageClassName == *claim.Spec.StorageClassName && pv.DeletionTimestamp == nil {
			return pv.Name
		}
	}
	return ""
}

// schedule is the scheduler: it selects a node for a claim whose class waits for one.
func (s *simPeople) schedule(w *simWorld) bool {
	nodes := w.server.List(simtest.CSINodes)
	return simAny(w, simtest.Claims, func(claim *corev1.PersistentVolumeClaim) bool {
		class, _ := w.server.Find(simtest.Classes, *claim.Spec.StorageClassName).(*storagev1.StorageClass)
		if class == nil || !delayed(class) || claim.Spec.VolumeName != "" || selectedNode(claim) != "" {
			return false
		}
		node := "n1"
		if w.settings.Driver.Topology {
			if len(nodes) == 0 {
				return false
			}
			node = nodes[w.IntN(len(nodes))].GetName()
		}
		w.trace("scheduler: claim %s goes to %s", claim.Name, node)
		return simtest.Change(w.server, simtest.Claims, "ns/"+claim.Name, func(claim *corev1.PersistentVolumeClaim) {
			if claim.Annotations == nil {
				claim.Annotations = map[string]string{}
			}
			claim.Annotations[volumehelpers.AnnSelectedNode] = node
		})
	})
}

// protect takes Kubernetes' own finalizers off what is being deleted and not in use.
func (s *simPeople) protect(w *simWorld) bool {
	without := func(finalizers []string, finalizer string) []string {
		return slices.DeleteFunc(finalizers, func(f string) bool { return f == finalizer })
	}
	return simAny(w, simtest.Claims, func(claim *corev1.PersistentVolumeClaim) bool {
		if claim.DeletionTimestamp == nil || !slices.Contains(claim.Finalizers, simtest.FinalizerClaim) {
			return false
		}
		w.trace("protection: claim %s (%s)", claim.Name, claim.UID)
		return simtest.Change(w.server, simtest.Claims, "ns/"+claim.Name, func(claim *corev1.PersistentVolumeClaim) {
			claim.Finalizers = without(claim.Finalizers, simtest.FinalizerClaim)
		})
	}) || simAny(w, simtest.Volumes, func(pv *corev1.PersistentVolume) bool {
		if pv.DeletionTimestamp == nil || pv.Status.Phase == corev1.VolumeBound || !slices.Contains(pv.Finalizers, simtest.FinalizerVolume) {
			return false
		}
		return simtest.Change(w.server, simtest.Volumes, pv.Name, func(pv *corev1.PersistentVolume) {
			pv.Finalizers = without(pv.Finalizers, simtest.FinalizerVolume)
		})
	})
}

// detach is the attach-detach controller: it lets go of what no claim uses.
func (s *simPeople) detach(w *simWorld) bool {
	return simAny(w, simtest.Attachments, func(attachment *storagev1.VolumeAttachment) bool {
		pv, _ := w.server.Find(simtest.Volumes, *attachment.Spec.Source.PersistentVolumeName).(*corev1.PersistentVolume)
		if pv != nil && pv.Status.Phase == corev1.VolumeBound || !w.calm && w.chance(.5) {
			return false
		}
		simDelete(w, simtest.Attachments, attachment.Name)
		return true
	})
}
