package explain

import (
	"context"
	"fmt"
	"slices"
	"time"

	snapshotclientset "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	volumehelpers "k8s.io/component-helpers/storage/volume"
	csitranslation "k8s.io/csi-translation-lib"
	gatewayclientset "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/provisioner/journal"
)

// labelDriverName is on the CSIStorageCapacity objects of a driver, as the established provisioner labels them.
const labelDriverName = "csi.storage.k8s.io/drivername"

// Gatherer reads what Diagnose needs. It only reads, with the rights of its clients.
type Gatherer struct {
	Client    kubernetes.Interface
	Metadata  metadata.Interface // for lists of which only names and labels are of interest
	Snapshots snapshotclientset.Interface
	Grants    gatewayclientset.Interface
	// DriverNamespace is where the driver's Lease is; empty: all namespaces are looked at.
	DriverNamespace string
	Now             func() time.Time
}

// Gather reads what there is to know about a claim. That the claim does not exist is a fact; the error means that nothing can be said,
// because the claim itself could not be read.
func (g *Gatherer) Gather(ctx context.Context, namespace, name string) (Facts, error) {
	facts := Facts{Now: g.Now(), Namespace: namespace, Name: name}
	r := &reads{}
	read, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	claim, err := g.Client.CoreV1().PersistentVolumeClaims(namespace).Get(read, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		g.missing(ctx, r, &facts)
	case err != nil:
		return Facts{}, fmt.Errorf("read claim %s/%s: %w", namespace, name, err)
	default:
		facts.Claim = claim
		g.gather(ctx, r, &facts)
	}
	facts.Unseen = r.unseen
	return facts, nil
}

// gather reads what belongs to a claim that exists: the further it has come, the less.
func (g *Gatherer) gather(ctx context.Context, r *reads, facts *Facts) {
	claim := facts.Claim
	bound := claim.Spec.VolumeName != "" || claim.Status.Phase == corev1.ClaimLost
	pending := !bound && claim.DeletionTimestamp == nil
	g.class(ctx, r, facts, pending)
	g.berth(ctx, r, facts)
	facts.VolumeName = claim.Spec.VolumeName
	if entry := facts.Journal.Value.Entry; facts.VolumeName == "" && entry != nil {
		facts.VolumeName = entry.Template.Name
	} else if facts.VolumeName == "" {
		facts.VolumeName = "pvc-" + string(claim.UID)
	}
	facts.Volume = one(ctx, r, "the PersistentVolume", func(ctx context.Context) (*corev1.PersistentVolume, error) {
		return g.Client.CoreV1().PersistentVolumes().Get(ctx, facts.VolumeName, metav1.GetOptions{})
	})
	if name := claim.Spec.VolumeAttributesClassName; name != nil && *name != "" {
		facts.AttributesClass = one(ctx, r, "the VolumeAttributesClass", func(ctx context.Context) (*storagev1.VolumeAttributesClass, error) {
			return g.Client.StorageV1().VolumeAttributesClasses().Get(ctx, *name, metav1.GetOptions{})
		})
	}
	facts.Events = g.events(ctx, r, "the claim's events", claim.Namespace, claim.UID)
	if pending {
		g.place(ctx, r, facts)
		g.pods(ctx, r, facts, "status.phase=Pending")
		g.source(ctx, r, facts)
	}
	if claim.DeletionTimestamp != nil {
		g.pods(ctx, r, facts, "status.phase!=Succeeded,status.phase!=Failed")
		if facts.Volume.Sight == Seen {
			g.leaving(ctx, r, facts)
		}
	}
}

// class reads the claim's class, and finds out whose it is.
func (g *Gatherer) class(ctx context.Context, r *reads, facts *Facts, pending bool) {
	name := volumehelpers.GetPersistentVolumeClaimClass(facts.Claim)
	if name != "" {
		facts.Class = one(ctx, r, "the StorageClass", func(ctx context.Context) (*storagev1.StorageClass, error) {
			return g.Client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{})
		})
	}
	if pending && facts.Class.Sight != Seen && facts.Class.Sight != Hidden {
		facts.Classes = many(ctx, r, "the other StorageClasses", 1, metav1.ListOptions{},
			paged(g.Client.StorageV1().StorageClasses().List, func(l *storagev1.StorageClassList) []storagev1.StorageClass { return l.Items }), nil).Value
	}
	switch {
	case facts.Class.Sight == Hidden: // who it was assigned to is the next best
		facts.Driver = facts.Claim.Annotations[volumehelpers.AnnStorageProvisioner]
	case facts.Class.Sight == Seen && facts.Class.Value.Provisioner != noProvisioner:
		facts.Driver = facts.Class.Value.Provisioner
	}
	if facts.Driver == "" {
		return
	}
	if csi, err := csitranslation.New().GetCSINameFromInTreeName(facts.Driver); err == nil {
		facts.Driver, facts.InTree = csi, facts.Driver
	}
	facts.CSIDriver = one(ctx, r, "the CSIDriver", func(ctx context.Context) (*storagev1.CSIDriver, error) {
		return g.Client.StorageV1().CSIDrivers().Get(ctx, facts.Driver, metav1.GetOptions{})
	})
}

// berth looks for the driver's Lease and for its journal. Which namespace they are in is the installer's choice, so by default all are asked
// for objects of that one name or label: the API server looks through them, and returns one or two.
func (g *Gatherer) berth(ctx context.Context, r *reads, facts *Facts) {
	if facts.Driver == "" {
		return
	}
	name := lead.LeaseName(facts.Driver)
	where := "of all namespaces (--driver-namespace names one)"
	if g.DriverNamespace != "" {
		where = fmt.Sprintf("of namespace %q", g.DriverNamespace)
	}
	byName := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name).String()}
	facts.Leases = many(ctx, r, "the Leases "+where, 1, byName,
		paged(g.Client.CoordinationV1().Leases(g.DriverNamespace).List, func(l *coordinationv1.LeaseList) []coordinationv1.Lease { return l.Items }),
		func(lease *coordinationv1.Lease) bool { return lease.Name == name })
	namespace := g.DriverNamespace
	if leases := facts.Leases.Value; len(leases) == 1 {
		namespace = leases[0].Namespace
		where = fmt.Sprintf("of namespace %q", namespace)
	}
	labelled := metav1.ListOptions{LabelSelector: journal.Label + "=" + name + "-journal"}
	pages := many(ctx, r, "the journal, ConfigMaps "+where, fewPages, labelled,
		paged(g.Client.CoreV1().ConfigMaps(namespace).List, func(l *corev1.ConfigMapList) []corev1.ConfigMap { return l.Items }), nil)
	facts.Journal = Look[JournalFacts]{Sight: pages.Sight, Partial: pages.Partial, Value: journalOf(facts.Claim.UID, pages.Value)}
}

// journalOf reads a journal's pages, whose entries are found by the claim's UID.
func journalOf(claim types.UID, pages []corev1.ConfigMap) JournalFacts {
	var facts JournalFacts
	for i := range pages {
		if facts.Where == "" {
			facts.Where = pages[i].Namespace + "/" + pages[i].Name
		}
		if node := pages[i].Annotations[journal.AnnotationNode]; node != "" && !slices.Contains(facts.Nodes, node) {
			facts.Nodes = append(facts.Nodes, node)
		}
		entries, problems := journal.Read(&pages[i])
		facts.Unread += len(problems)
		for _, entry := range entries {
			if entry.UID() == claim {
				facts.Entry = entry
			}
		}
	}
	return facts
}

// events are found by their object's UID, which the API server selects by.
func (g *Gatherer) events(ctx context.Context, r *reads, what, namespace string, of types.UID) Look[[]corev1.Event] {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(of)).String()}
	return many(ctx, r, what, 1, options,
		paged(g.Client.CoreV1().Events(namespace).List, func(l *corev1.EventList) []corev1.Event { return l.Items }),
		func(event *corev1.Event) bool { return event.InvolvedObject.UID == of })
}

// pods reads those in a phase that counts, and keeps those that use the claim.
func (g *Gatherer) pods(ctx context.Context, r *reads, facts *Facts, phases string) {
	facts.Pods = many(ctx, r, "the Pods of the namespace", fewPages, metav1.ListOptions{FieldSelector: phases},
		paged(g.Client.CoreV1().Pods(facts.Claim.Namespace).List, func(l *corev1.PodList) []corev1.Pod { return l.Items }),
		func(pod *corev1.Pod) bool { return uses(pod, facts.Claim.Name) })
}

// source reads what the claim is to be made from, as the provisioner does. Contents of snapshots belong to administrators, so people may often
// read a snapshot and not its content; what the snapshot alone tells is worth having.
func (g *Gatherer) source(ctx context.Context, r *reads, facts *Facts) {
	reference, verdict := datasource.Resolve(facts.Claim)
	if verdict.Decision != datasource.Allow || reference.Kind == datasource.None || reference.Kind == datasource.Populator {
		return
	}
	reader := datasource.NewReader(datasource.ReaderConfig{
		Client: g.Client, Snapshots: g.Snapshots, Grants: datasource.NewGrantWatch(g.Grants, 0), // which reads live while it is not run
	})
	read, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	found, err := reader.Gather(read, reference)
	if err == nil {
		facts.Source = Look[datasource.Facts]{Sight: Seen, Value: found}
		return
	}
	r.hide("the data source, "+reference.String(), err)
	facts.Source.Sight = Hidden
	if reference.Kind != datasource.Snapshot || reference.CrossNamespace || !apierrors.IsForbidden(err) {
		return
	}
	if snapshot, err := g.Snapshots.SnapshotV1().VolumeSnapshots(reference.Namespace).Get(read, reference.Name, metav1.GetOptions{}); err == nil {
		facts.Source = Look[datasource.Facts]{Sight: Seen, Value: datasource.Facts{SnapshotsServed: true, Snapshot: snapshot}}
		facts.ContentHidden = true
	}
}

// leaving reads what may hold the volume of a claim that is being deleted. Attachments cannot be selected by their volume; there is at most one a
// volume and node, and only the first pages of them are looked at.
func (g *Gatherer) leaving(ctx context.Context, r *reads, facts *Facts) {
	facts.Attachments = many(ctx, r, "the VolumeAttachments", fewPages, metav1.ListOptions{},
		paged(g.Client.StorageV1().VolumeAttachments().List, func(l *storagev1.VolumeAttachmentList) []storagev1.VolumeAttachment { return l.Items }),
		func(attachment *storagev1.VolumeAttachment) bool {
			name := attachment.Spec.Source.PersistentVolumeName
			return name != nil && *name == facts.VolumeName
		})
	facts.VolumeEvents = g.events(ctx, r, "the volume's events", metav1.NamespaceDefault, facts.Volume.Value.UID)
}
