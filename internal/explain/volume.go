package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner"
)

// Finalizers of claims and volumes that others than the provisioner set.
const (
	finalizerInUse    = "kubernetes.io/pvc-protection"
	finalizerVolume   = "kubernetes.io/pv-protection"
	finalizerAttacher = "external-attacher/"
)

// volume says how far the claim's volume is: the object that it is bound to, or that its provisioner has written.
func (d *diagnosis) volume() []note {
	named := d.Claim.Spec.VolumeName
	switch d.Volume.Sight {
	case NotLooked, Hidden:
		if named != "" {
			return []note{info(aboutVolume, named)}
		}
		return nil
	case Absent:
		return d.volumeGone(named)
	case Seen:
	}
	volume := d.Volume.Value
	notes := []note{d.volumeWords(volume)}
	switch ref := volume.Spec.ClaimRef; {
	case ref != nil && (ref.Namespace != d.Claim.Namespace || ref.Name != d.Claim.Name || ref.UID != "" && ref.UID != d.Claim.UID):
		return append(notes, d.volumeOfOther(volume, ref))
	case d.Claim.Status.Phase == corev1.ClaimBound, d.Claim.DeletionTimestamp != nil:
	case d.Claim.Status.Phase == corev1.ClaimLost:
	default:
		n := waiting(aboutVolume, "It exists, and the claim is bound to it as soon as kube-controller-manager gets to it", "").
			because(fmt.Sprintf("its volume %s exists, and kube-controller-manager is about to bind the two", volume.Name))
		if d.Now.Sub(volume.CreationTimestamp.Time) > patience {
			n = problem(aboutVolume, fmt.Sprintf("It has existed for %s, and the claim is still not bound to it", span(d.Now.Sub(volume.CreationTimestamp.Time))),
				"See that kube-controller-manager runs and is not overloaded: it binds claims to volumes. Its events on the claim tell if the two do not fit").
				because(fmt.Sprintf("its volume %s exists, and kube-controller-manager has not bound the two", volume.Name))
		}
		notes = append(notes, n)
	}
	return notes
}

// volumeWords describes a volume's object.
func (d *diagnosis) volumeWords(volume *corev1.PersistentVolume) note {
	words := []string{volume.Name, "is " + string(cmp.Or(volume.Status.Phase, corev1.VolumePending))}
	if since := volume.Status.LastPhaseTransitionTime; since != nil {
		words[1] += " since " + span(d.Now.Sub(since.Time))
	}
	if capacity, ok := volume.Spec.Capacity[corev1.ResourceStorage]; ok {
		words = append(words, size(capacity))
	}
	if csi := volume.Spec.CSI; csi != nil {
		words = append(words, fmt.Sprintf("driver %s, handle %s", csi.Driver, quote(csi.VolumeHandle)))
	}
	if policy := volume.Spec.PersistentVolumeReclaimPolicy; policy != "" {
		words = append(words, "reclaim policy "+string(policy))
	}
	if where := affinity(volume.Spec.NodeAffinity); where != "" {
		words = append(words, "only in "+where)
	}
	return info(aboutVolume, strings.Join(words, ", "))
}

// boundTo ends the verdict of a bound claim.
func (d *diagnosis) boundTo() string {
	volume := d.Volume.Value
	text := "to volume " + volume.Name
	if since := volume.Status.LastPhaseTransitionTime; since != nil && volume.Status.Phase == corev1.VolumeBound {
		text += ", " + ago(d.Now, since.Time)
	}
	if where := affinity(volume.Spec.NodeAffinity); where != "" {
		text += ", in " + where
	}
	return text
}

// affinity writes the places of a volume: what every term says, beside each other.
func affinity(affinity *corev1.VolumeNodeAffinity) string {
	if affinity == nil || affinity.Required == nil {
		return ""
	}
	var terms []string
	for _, term := range affinity.Required.NodeSelectorTerms {
		var expressions []string
		for _, e := range term.MatchExpressions {
			if e.Operator == corev1.NodeSelectorOpIn && len(e.Values) == 1 {
				expressions = append(expressions, e.Key+"="+e.Values[0])
			} else {
				expressions = append(expressions, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Key, e.Operator, strings.Join(e.Values, "|"))))
			}
		}
		terms = append(terms, strings.Join(expressions, ","))
	}
	return few(terms, 4)
}

func (d *diagnosis) volumeGone(named string) []note {
	switch {
	case named == "":
		return nil // it was not created yet
	case d.Claim.DeletionTimestamp != nil:
		return []note{info(aboutVolume, fmt.Sprintf("%s does not exist any more", named))}
	case d.Claim.Status.Phase == corev1.ClaimLost, d.Claim.Status.Phase == corev1.ClaimBound:
		return []note{problem(aboutVolume, fmt.Sprintf("PersistentVolume %q, which it was bound to, does not exist any more", named),
			"Bring the PersistentVolume back from a backup if its data still exists in the driver; else delete the claim and make it again, which begins with an empty volume").
			because(fmt.Sprintf("PersistentVolume %q, which it was bound to, was deleted", named))}
	}
	return []note{problem(aboutVolume, fmt.Sprintf("It asks for PersistentVolume %q (spec.volumeName), which does not exist", named),
		"Have that PersistentVolume made, or make the claim again without spec.volumeName to have a volume created").
		because(fmt.Sprintf("it asks for PersistentVolume %q, which does not exist", named))}
}

func (d *diagnosis) volumeOfOther(volume *corev1.PersistentVolume, ref *corev1.ObjectReference) note {
	whose := fmt.Sprintf("claim %s/%s", ref.Namespace, ref.Name)
	if ref.Namespace == d.Claim.Namespace && ref.Name == d.Claim.Name {
		whose = "an earlier claim of the same name"
	}
	return problem(aboutVolume, fmt.Sprintf("PersistentVolume %q is for %s, not for this one", volume.Name, whose),
		"Make the claim again without spec.volumeName. Or, to use that volume's data and if nobody else does, have an administrator remove spec.claimRef from the PersistentVolume").
		because(fmt.Sprintf("PersistentVolume %q is for %s", volume.Name, whose))
}

// deletion says what holds a claim that is to go, and its volume.
func (d *diagnosis) deletion() []note {
	claim := d.Claim
	if claim.DeletionTimestamp == nil {
		return nil
	}
	notes := []note{info(aboutDeletion, "It is being deleted since "+span(d.Now.Sub(claim.DeletionTimestamp.Time)))}
	for _, finalizer := range claim.Finalizers {
		switch finalizer {
		case finalizerInUse:
			notes = append(notes, d.inUse())
		case datasource.FinalizerClaim:
			notes = append(notes, waiting(aboutDeletion, fmt.Sprintf("Finalizer %s: another claim is being cloned from it", finalizer),
				"Wait for the clones, or delete the claims that are made from it").because("another claim is being cloned from it"))
		default:
			notes = append(notes, problem(aboutDeletion, fmt.Sprintf("Finalizer %s holds it, which is neither Kubernetes' nor Berth's", finalizer),
				fmt.Sprintf("Find out who sets finalizer %s and why it does not take it off", finalizer)).
				because(fmt.Sprintf("finalizer %s holds it", finalizer)))
		}
	}
	return append(notes, d.volumeLeaving()...)
}

func (d *diagnosis) inUse() note {
	var names []string
	for i := range d.Pods.Value {
		pod := &d.Pods.Value[i]
		text := pod.Name
		if pod.Spec.NodeName != "" {
			text += " (on " + pod.Spec.NodeName + ")"
		}
		names = append(names, text)
	}
	if len(names) == 0 {
		do := "If this lasts, see that kube-controller-manager runs: it takes the finalizer off when no Pod uses the claim"
		text := "No Pod that was found uses it, so finalizer " + finalizerInUse + " comes off by itself"
		if d.Pods.Sight != Seen {
			text = "Finalizer " + finalizerInUse + " holds it while a Pod uses it"
		}
		return waiting(aboutDeletion, text, do).because("it waits for finalizer " + finalizerInUse + " to come off")
	}
	return problem(aboutDeletion, fmt.Sprintf("It is still used by %s %s (finalizer %s)", plural(len(names), "Pod", "Pods"), few(names, 4), finalizerInUse),
		"Delete those Pods, or what makes them; the claim then goes by itself").
		because(fmt.Sprintf("%s %s still uses it", plural(len(names), "Pod", "Pods"), few(names, 2)))
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// volumeLeaving says what holds the volume of a claim that is to go.
func (d *diagnosis) volumeLeaving() []note {
	var notes []note
	if d.Volume.Sight == Seen && d.Volume.Value.DeletionTimestamp != nil {
		for _, finalizer := range d.Volume.Value.Finalizers {
			why := "somebody else's"
			switch {
			case finalizer == finalizerVolume:
				why = "until the claim is gone"
			case finalizer == provisioner.FinalizerVolume:
				why = "until the driver has deleted the volume"
			case strings.HasPrefix(finalizer, finalizerAttacher):
				why = "until the volume is detached"
			}
			notes = append(notes, info(aboutDeletion, fmt.Sprintf("Its volume has finalizer %s: %s", finalizer, why)))
		}
	}
	if nodes := attachedTo(d.VolumeName, d.Attachments.Value); len(nodes) > 0 {
		notes = append(notes, warning(aboutDeletion, fmt.Sprintf("Its volume is attached to %s, and is deleted only after it was detached", few(nodes, 4)),
			"If no Pod uses it any more and a node is gone for good, take the node out (taint node.kubernetes.io/out-of-service), so that its volumes are detached"))
	}
	if d.Attachments.Partial {
		notes = append(notes, note{Finding: Finding{Severity: Unknown, About: aboutUnseen, Text: "There are more VolumeAttachments than were looked at"}})
	}
	if d.VolumeEvents.Sight == Seen {
		for _, event := range byTime(d.VolumeEvents.Value) {
			if event.Type == corev1.EventTypeWarning || event.Reason == provisioner.ReasonVolumeStillAttached {
				notes = append(notes, warning(aboutDeletion, "Its volume: "+d.told(event), ""))
				break
			}
		}
	}
	return notes
}

func attachedTo(volume string, attachments []storagev1.VolumeAttachment) []string {
	var nodes []string
	for i := range attachments {
		if name := attachments[i].Spec.Source.PersistentVolumeName; name != nil && *name == volume {
			nodes = append(nodes, attachments[i].Spec.NodeName)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}
