package explain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/provisioner"
)

// longestRetry is the longest pause between two tries of a claim: what --retry-interval-max is by default, and the shortest after a request
// that the driver called wrong in itself.
const longestRetry = 5 * time.Minute

// outdated is when nothing more can be concluded from an event: each try in between would have repeated it.
const outdated = 3 * longestRetry

// lastSeen is when an event was reported last. The two APIs that write events fill in different fields.
func lastSeen(event *corev1.Event) time.Time {
	latest := event.CreationTimestamp.Time
	for _, t := range []time.Time{event.FirstTimestamp.Time, event.LastTimestamp.Time, event.EventTime.Time} {
		if t.After(latest) {
			latest = t
		}
	}
	if event.Series != nil && event.Series.LastObservedTime.After(latest) {
		latest = event.Series.LastObservedTime.Time
	}
	return latest
}

func times(event *corev1.Event) int {
	n := int(event.Count)
	if event.Series != nil {
		n = max(n, int(event.Series.Count))
	}
	return max(n, 1)
}

// byTime are events, the latest first.
func byTime(events []corev1.Event) []*corev1.Event {
	sorted := make([]*corev1.Event, 0, len(events))
	for i := range events {
		sorted = append(sorted, &events[i])
	}
	slices.SortStableFunc(sorted, func(a, b *corev1.Event) int {
		return cmp.Or(lastSeen(b).Compare(lastSeen(a)), cmp.Compare(a.Name, b.Name))
	})
	return sorted
}

// told is an event in words: who said it, how often, when.
func (d *diagnosis) told(event *corev1.Event) string {
	often := ""
	if n := times(event); n > 1 {
		often = fmt.Sprintf(", %d times", n)
	}
	text := fmt.Sprintf("%s%s, last %s, by %s", event.Reason, often, ago(d.Now, lastSeen(event)),
		cmp.Or(event.Source.Component, event.ReportingController, "somebody"))
	if d.saidBefore(event) {
		return text + ", in the same words"
	}
	return text + ": " + quote(event.Message)
}

// saidBefore: it is what was found here, too, by the same rule.
func (d *diagnosis) saidBefore(event *corev1.Event) bool {
	return slices.Contains(d.said, upper(quote(event.Message)))
}

// events says what was said of the claim: the last failure, and what came after it.
func (d *diagnosis) events() []note {
	if d.Events.Sight != Seen {
		return nil
	}
	if !d.pending() {
		return nil
	}
	sorted := byTime(d.Events.Value)
	if len(sorted) == 0 {
		return []note{info(aboutEvents, "There are none (they are kept for an hour)")}
	}
	at := slices.IndexFunc(sorted, func(event *corev1.Event) bool { return event.Type == corev1.EventTypeWarning })
	var notes []note
	if at >= 0 {
		notes = d.failure(sorted[at])
	}
	if at != 0 { // something was said since, if no more than that it waits
		notes = append([]note{info(aboutEvents, d.told(sorted[0]))}, notes...)
	}
	if len(notes) > 1 && notes[1].Severity == Problem {
		notes[0], notes[1] = notes[1], notes[0]
	}
	return notes
}

// failure tells the last thing that went wrong, and when it is tried again.
func (d *diagnosis) failure(event *corev1.Event) []note {
	text := d.told(event)
	since := d.Now.Sub(lastSeen(event))
	switch {
	case since > outdated:
		return []note{info(aboutEvents, text+" (nothing since, so this may be over)")}
	case d.Class.Sight == Absent || d.delayed && d.node == "" && len(d.Pods.Value) == 0:
		return []note{info(aboutEvents, text)} // the claim waits for something else by now
	}
	if d.saidBefore(event) {
		return append([]note{info(aboutEvents, text)}, d.retry(event)...)
	}
	often := ""
	if n := times(event); n > 1 {
		often = fmt.Sprintf(", %d times so far", n)
	}
	do := "Do what the message says. What follows a code such as InvalidArgument is the driver's own; its documentation or its vendor explains that"
	n := problem(aboutEvents, text, do).because(fmt.Sprintf("the last try failed%s: %s", often, quote(event.Message)))
	return append([]note{n}, d.retry(event)...)
}

// retry says when it is tried again, as far as it can be known: pauses grow from seconds to minutes, and what concerns the claim shortens them.
func (d *diagnosis) retry(event *corev1.Event) []note {
	if event.Reason != provisioner.ReasonProvisioningFailed || !d.itsTurn() {
		return nil
	}
	latest := lastSeen(event).Add(longestRetry)
	if latest.Before(d.Now) {
		return []note{info(aboutRetry, "It is due, unless --retry-interval-max is longer than 5m")}
	}
	return []note{info(aboutRetry, fmt.Sprintf("By %s, in %s at the latest, and at once when the claim, its class or its source changes (with the default --retry-interval-max)",
		clock(latest), span(latest.Sub(d.Now))))}
}

// conditions says what else is reported of the claim: resizing, changing its attributes.
func (d *diagnosis) conditions() []note {
	var notes []note
	for _, condition := range d.Claim.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		text := string(condition.Type)
		if condition.Message != "" {
			text += ": " + quote(condition.Message)
		}
		notes = append(notes, info("condition", text))
	}
	if status := d.Claim.Status.ModifyVolumeStatus; status != nil && status.Status == corev1.PersistentVolumeClaimModifyVolumeInfeasible {
		notes = append(notes, warning("condition", fmt.Sprintf("The driver cannot give the volume the attributes of class %q", status.TargetVolumeAttributesClassName),
			"Name another volume attributes class in spec.volumeAttributesClassName"))
	}
	return notes
}
