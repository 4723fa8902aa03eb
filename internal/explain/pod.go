package explain

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// pods says who waits for the claim. With WaitForFirstConsumer a Pod that the scheduler can place is what the claim waits for.
func (d *diagnosis) pods() []note {
	if !d.pending() || d.Pods.Sight != Seen {
		return nil
	}
	if len(d.Pods.Value) == 0 {
		return d.noPod()
	}
	var notes []note
	for i := range d.Pods.Value {
		if i == 3 {
			notes = append(notes, info(aboutPod, fmt.Sprintf("%s more of them", count(len(d.Pods.Value)-i, "Pod", "Pods"))))
			break
		}
		notes = append(notes, d.pod(&d.Pods.Value[i]))
	}
	return notes
}

func (d *diagnosis) noPod() []note {
	if !d.delayed || d.node != "" {
		return nil
	}
	text := "No Pod that waits uses the claim; with WaitForFirstConsumer its volume is created when the first one is scheduled"
	if d.Pods.Partial {
		text = "None of the Pods that were looked at uses the claim, and there are more; with WaitForFirstConsumer its volume is created when the first one is scheduled"
	}
	return []note{waiting(aboutPod, text,
		"Start a Pod that uses the claim. If there is one, look whether it names this claim, in this namespace").
		because("it waits for a Pod that uses it (WaitForFirstConsumer), and there is none")}
}

func (d *diagnosis) pod(pod *corev1.Pod) note {
	name := fmt.Sprintf("Pod %q", pod.Name)
	condition := scheduled(pod)
	switch {
	case !d.delayed || d.node != "":
		return info(aboutPod, name+" waits for it")
	case pod.Spec.NodeName != "":
		// Only the scheduler selects a node for the claim, and it never sees a Pod that has one.
		return problem(aboutPod, fmt.Sprintf("%s was put on node %q without the scheduler, which therefore selects no node for the claim", name, pod.Spec.NodeName),
			fmt.Sprintf("Make the Pod again without spec.nodeName; to keep it on that node use spec.nodeSelector (kubernetes.io/hostname: %s)", pod.Spec.NodeName)).
			because(fmt.Sprintf("Pod %q was put on a node without the scheduler, and only that selects a node for a claim with WaitForFirstConsumer", pod.Name))
	case len(pod.Spec.SchedulingGates) > 0:
		return waiting(aboutPod, fmt.Sprintf("%s is held by scheduling gate %q", name, pod.Spec.SchedulingGates[0].Name),
			"Find out who takes that gate off the Pod").because(fmt.Sprintf("Pod %q, which is to use it, is not scheduled before its gates are taken off", pod.Name))
	case condition != nil && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable:
		said := quote(condition.Message)
		return problem(aboutPod, fmt.Sprintf("%s cannot be placed, says the scheduler: %s", name, said),
			"Change what keeps the Pod from a node (its node selector, affinity, resources, the claim's size), or add what is lacking; it is tried again by itself").
			because(fmt.Sprintf("Pod %q, which is to use it, cannot be placed: %s", pod.Name, said))
	}
	return waiting(aboutPod, fmt.Sprintf("%s uses it, and the scheduler has not placed that yet", name), "").
		because(fmt.Sprintf("it waits until the scheduler places Pod %q", pod.Name))
}

func scheduled(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodScheduled {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// uses reports whether a Pod uses a claim, by name or as the volume that is made for it alone (generic ephemeral volumes, KEP-1698).
func uses(pod *corev1.Pod, claim string) bool {
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		switch {
		case volume.PersistentVolumeClaim != nil && volume.PersistentVolumeClaim.ClaimName == claim:
			return true
		case volume.Ephemeral != nil && pod.Name+"-"+volume.Name == claim:
			return true
		}
	}
	return false
}
