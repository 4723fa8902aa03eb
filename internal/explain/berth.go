package explain

import (
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/provisioner"
)

// berth says who provisions for the driver. The Lease has the name that Berth and the established provisioner share, so its holder may be
// either; a journal is Berth's alone.
func (d *diagnosis) berth() []note {
	if d.Driver != "" && d.distributed() {
		return d.eachNode()
	}
	if d.Driver == "" || d.Leases.Sight != Seen {
		return nil
	}
	if len(d.Leases.Value) == 0 {
		return d.noLease()
	}
	var notes []note
	healthy := false
	for i := range d.Leases.Value {
		n, held := d.lease(&d.Leases.Value[i])
		healthy = healthy || held
		notes = append(notes, n)
	}
	for i := range notes {
		if notes[i].Severity == Problem && (healthy || !d.itsTurn()) { // it holds up nothing now
			notes[i].Severity, notes[i].cause = Warning, ""
		}
		if d.bound {
			notes[i].Severity, notes[i].Do = Info, ""
		}
	}
	if healthy && len(notes) > 1 {
		notes = append(notes, warning(aboutBerth, fmt.Sprintf("There are %d Leases %q: this driver may be installed twice", len(notes), d.Leases.Value[0].Name),
			"See whether one of them is left over from an earlier installation, and delete that"))
	}
	return notes
}

func (d *diagnosis) noLease() []note {
	text := fmt.Sprintf("There is no Lease %q in any namespace that was looked at", lead.LeaseName(d.Driver))
	do := fmt.Sprintf("See that the controller part of driver %s runs, with Berth beside it", d.Driver)
	switch {
	case d.Journal.Value.Where != "":
		n := info(aboutBerth, fmt.Sprintf("%s, but a journal, %s: Berth was installed for driver %s, without --leader-election or uninstalled since",
			text, d.Journal.Value.Where, d.Driver))
		if d.itsTurn() {
			n.Severity, n.Do = Warning, do
		}
		return []note{n} // a single replica has no Lease, so nothing follows from this
	case !d.pending():
		return nil
	}
	n := warning(aboutBerth, fmt.Sprintf("%s: either nobody provisions for driver %s, or it is a single replica without --leader-election",
		text, d.Driver), do)
	if d.itsTurn() && !d.young() {
		n.cause = fmt.Sprintf("nobody can be seen to provision for driver %s", d.Driver)
	}
	return []note{n}
}

// lease says whether one Lease is held. A holder renews it every few seconds; one that does not is gone or cut off.
func (d *diagnosis) lease(lease *coordinationv1.Lease) (n note, held bool) {
	name := lease.Namespace + "/" + lease.Name
	holder := ""
	if lease.Spec.HolderIdentity != nil {
		holder = *lease.Spec.HolderIdentity
	}
	var renewed time.Time
	if lease.Spec.RenewTime != nil {
		renewed = lease.Spec.RenewTime.Time
	}
	lasts := 15 * time.Second
	if lease.Spec.LeaseDurationSeconds != nil {
		lasts = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	do := fmt.Sprintf("Look at the Pods of the driver's controller part in namespace %q: \"kubectl get pods -n %s\", and their logs", lease.Namespace, lease.Namespace)
	nobody := fmt.Sprintf("nobody provisions for driver %s at the moment", d.Driver)
	switch {
	case holder == "":
		return problem(aboutBerth, fmt.Sprintf("Nobody holds Lease %s; it was given up %s. Berth for driver %s does not run, or is just starting",
			name, ago(d.Now, renewed), d.Driver), do).because(nobody + " (its Lease was given up)"), false
	case d.Now.Sub(renewed) > lasts:
		return problem(aboutBerth, fmt.Sprintf("Lease %s was last renewed %s by %s, and holds for %s: Berth for driver %s does not run, or cannot reach the API server",
			name, ago(d.Now, renewed), holder, span(lasts), d.Driver), do).
			because(fmt.Sprintf("%s (its Lease was last renewed %s)", nobody, ago(d.Now, renewed))), false
	}
	who := "The provisioner of driver " + d.Driver
	if d.Journal.Value.Where != "" {
		who = "Berth for driver " + d.Driver
	}
	return info(aboutBerth, fmt.Sprintf("%s runs: Lease %s is held by %s, renewed %s", who, name, holder, ago(d.Now, renewed))), true
}

// assignment says whether the claim was given to the driver: by an annotation that Berth's webhook writes at once, and else the
// controller-manager, when it is the provisioner's turn.
func (d *diagnosis) assignment() []note {
	if !d.pending() || d.Driver == "" {
		return nil
	}
	assigned, ok := d.Claim.Annotations[volumehelpers.AnnStorageProvisioner]
	if !ok {
		assigned, ok = d.Claim.Annotations[volumehelpers.AnnBetaStorageProvisioner]
	}
	wanted := d.Driver
	if d.InTree != "" {
		wanted = d.InTree
	}
	switch {
	case ok && assigned == wanted && d.InTree != "" && d.Claim.Annotations[provisioner.AnnotationMigratedTo] != d.Driver:
		return []note{warning(aboutAssignment, fmt.Sprintf("It is assigned to in-tree driver %s, without the annotation %s: %s",
			wanted, provisioner.AnnotationMigratedTo, d.Driver), "See that kube-controller-manager runs: it writes the annotation")}
	case ok && assigned == wanted:
		return []note{info(aboutAssignment, fmt.Sprintf("It is assigned to %s (annotation %s)", assigned, volumehelpers.AnnStorageProvisioner))}
	case ok:
		return []note{problem(aboutAssignment, fmt.Sprintf("It is assigned to %s (annotation %s), but its class is of %s", assigned, volumehelpers.AnnStorageProvisioner, wanted),
			"Make the claim again: the annotation was written when the class was another one").
			because(fmt.Sprintf("it is assigned to %s, and its class is of %s now", assigned, wanted))}
	case d.delayed && d.node == "":
		return []note{info(aboutAssignment, "It is not assigned to a driver yet; kube-controller-manager does that when a node is selected")}
	case d.young():
		return []note{waiting(aboutAssignment, "It is not assigned to a driver yet; kube-controller-manager, or the admission webhook, is about to write the annotation "+
			volumehelpers.AnnStorageProvisioner, "").because("it is about to be assigned to driver " + wanted)}
	}
	return []note{problem(aboutAssignment, fmt.Sprintf("It is not assigned to a driver: the annotation %s is missing %s after it was made",
		volumehelpers.AnnStorageProvisioner, span(d.Now.Sub(d.Claim.CreationTimestamp.Time))),
		"See that kube-controller-manager runs and is not overloaded: it writes the annotation. Or a PersistentVolume that exists fits the claim and is being bound").
		because("kube-controller-manager has not assigned it to driver " + wanted)}
}

// journal says whether its volume is being created, as recorded. An entry that stays is of a driver that does not tell what became of a call.
func (d *diagnosis) journal() []note {
	if d.Journal.Sight != Seen {
		return nil
	}
	var notes []note
	if entry := d.Journal.Value.Entry; entry != nil {
		since := span(d.Now.Sub(entry.Began))
		switch {
		case d.bound:
			notes = append(notes, info(aboutJournal, fmt.Sprintf("The journal still has an entry of it, from %s ago, which leaves within a minute", since)))
		case d.Claim.DeletionTimestamp != nil:
			notes = append(notes, info(aboutJournal, fmt.Sprintf("Creating volume %s began %s ago: its outcome is found out, and then the volume is deleted", entry.Request.GetName(), since)))
		default:
			notes = append(notes, waiting(aboutJournal, fmt.Sprintf("Creating volume %s began %s ago, and how it ended is not known yet: the same request is sent until the driver tells",
				entry.Request.GetName(), since), "Look at the driver's log for volume "+entry.Request.GetName()).
				because(fmt.Sprintf("driver %s has been asked for its volume %s ago and has not said how that ended", d.Driver, since)))
		}
	}
	if n := d.Journal.Value.Unread; n > 0 {
		notes = append(notes, warning(aboutJournal, fmt.Sprintf("%s of the journal cannot be read", count(n, "entry", "entries")), "See \"berth journal\""))
	}
	return notes
}
