package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/topology"
)

// What findings are about. The verdict is the first one; it answers the question in one sentence.
const (
	aboutVerdict    = "verdict"
	aboutClaim      = "claim"
	aboutDeletion   = "deletion"
	aboutClass      = "class"
	aboutAttributes = "attributes"
	aboutSource     = "data source"
	aboutRequest    = "request"
	aboutNode       = "selected node"
	aboutPlaces     = "places"
	aboutHint       = "hint"
	aboutCapacity   = "capacity"
	aboutPod        = "pod"
	aboutVolume     = "volume"
	aboutBerth      = "berth"
	aboutAssignment = "assignment"
	aboutJournal    = "journal"
	aboutEvents     = "events"
	aboutRetry      = "next try"
	aboutUnseen     = "not seen"
)

// Diagnose says everything that there is to say, the verdict first. Its order is also that of causes: of several problems the first is
// what the verdict tells, because the others may follow from it. It is total.
func Diagnose(facts Facts) []Finding {
	var notes []note
	if facts.Claim == nil {
		notes = missing(facts)
	} else {
		d := newDiagnosis(facts)
		for _, part := range []func() []note{
			d.deletion, d.claim, d.class, d.attributesClass, d.source, d.request, d.selectedNode, d.places, d.hint, d.capacity, d.pods,
			d.volume, d.berth, d.assignment, d.journal, d.events, d.conditions,
		} {
			more := part()
			for _, n := range more {
				d.said = append(d.said, n.Text)
			}
			notes = append(notes, more...)
		}
		notes = append([]note{d.verdict(notes)}, notes...)
	}
	findings := make([]Finding, 0, len(notes)+len(facts.Unseen))
	for _, n := range notes {
		n.Text = sentence(harmless(n.Text))
		n.Do = sentence(harmless(n.Do))
		findings = append(findings, n.Finding)
	}
	for _, unseen := range facts.Unseen {
		why := quote(unseen.Why)
		if unseen.Forbidden {
			why = "permission"
		}
		findings = append(findings, Finding{Severity: Unknown, About: aboutUnseen, Text: fmt.Sprintf("Could not look at %s (%s).", unseen.What, why)})
	}
	return findings
}

// diagnosis is what several parts need to know.
type diagnosis struct {
	Facts

	bound   bool // to a volume, or lost it: there is nothing to provision
	delayed bool // WaitForFirstConsumer
	node    string
	index   *topology.Index
	said    []string // so far, by other parts
}

func newDiagnosis(facts Facts) *diagnosis {
	claim := facts.Claim
	d := &diagnosis{
		Facts:   facts,
		bound:   claim.Spec.VolumeName != "" || claim.Status.Phase == corev1.ClaimBound || claim.Status.Phase == corev1.ClaimLost,
		node:    claim.Annotations[volumehelpers.AnnSelectedNode],
		index:   topology.NewIndex(),
		delayed: facts.Class.Sight == Seen && delayed(facts.Class.Value),
	}
	for _, node := range facts.Nodes.Value {
		d.index.SetNode(node.Name, node.Labels)
		if node.Registered {
			d.index.SetRegistration(node.Name, topology.NewKeySet(node.Keys))
		}
	}
	d.indexSelected()
	return d
}

func delayed(class *storagev1.StorageClass) bool {
	return class.VolumeBindingMode != nil && *class.VolumeBindingMode == storagev1.VolumeBindingWaitForFirstConsumer
}

// pending: the claim waits for a volume.
func (d *diagnosis) pending() bool { return !d.bound && d.Claim.DeletionTimestamp == nil }

// itsTurn: if anybody can do something about the claim now, it is the driver's provisioner. Where the class may not be read, that the claim is
// assigned tells as much.
func (d *diagnosis) itsTurn() bool {
	switch d.Class.Sight {
	case Seen:
		return d.pending() && d.Driver != "" && (!d.delayed || d.node != "")
	case Hidden:
		return d.pending() && d.Driver != ""
	case NotLooked, Absent:
	}
	return false
}

// young: whatever has not happened yet may simply take its time.
func (d *diagnosis) young() bool { return d.Now.Sub(d.Claim.CreationTimestamp.Time) < patience }

// patience is how long a healthy cluster may take over one step.
const patience = time.Minute

func (d *diagnosis) label() string { return d.Claim.Namespace + "/" + d.Claim.Name }

// verdict is the answer in one sentence.
func (d *diagnosis) verdict(notes []note) note {
	phase := string(d.Claim.Status.Phase)
	if phase == "" {
		phase = string(corev1.ClaimPending)
	}
	text := fmt.Sprintf("Claim %s is %s", d.label(), phase)
	severity := Info
	cause := d.standing()
	if d.bound && d.Volume.Sight == Seen && d.Claim.DeletionTimestamp == nil && phase == string(corev1.ClaimBound) {
		text, cause = text+" "+cause, ""
	}
	for _, wanted := range []Severity{Problem, Waiting, Warning} {
		if wanted == Warning && !d.pending() {
			break
		}
		if at := slices.IndexFunc(notes, func(n note) bool {
			return n.Severity == wanted && (wanted != Warning || n.cause != "") // of warnings those that say what they would explain
		}); at >= 0 {
			severity, cause = wanted, notes[at].cause
			if cause == "" {
				cause = notes[at].Text
			}
			break
		}
	}
	if cause != "" {
		text += ": " + strings.TrimSuffix(cause, ".")
	}
	return note{Finding: Finding{Severity: severity, About: aboutVerdict, Text: text}}
}

// standing is what to say of a claim that nothing holds up.
func (d *diagnosis) standing() string {
	switch {
	case d.Claim.DeletionTimestamp != nil:
		return "it is being deleted"
	case d.bound && d.Volume.Sight == Seen:
		return d.boundTo()
	case d.bound:
		return fmt.Sprintf("its volume is %s", d.Claim.Spec.VolumeName)
	case d.itsTurn():
		return fmt.Sprintf("nothing that can be seen from here stands in its way; the provisioner of driver %s should create its volume", d.Driver)
	}
	return "nothing that can be seen from here stands in its way"
}
