package main

import (
	"slices"
)

// intended are the differences that we mean. The first rule that fits a difference is the one that counts.
var intended = []rule{
	{
		anchor: "a-class-that-does-not-exist", cases: `^default flags: class that does not exist, claim assigned$`, path: `outcome`,
		why:   "Berth says on the claim that its class is missing.",
		holds: values(string(quiet), string(refused)),
	},
	{
		anchor: "protection-of-sources", cases: `: (clone|claim)`, path: `sources\[claim source\]`,
		why:   "Berth takes its finalizer off the source of a clone once nothing is being made from it.",
		holds: withoutElement("provisioner.storage.kubernetes.io/cloning-protection"),
	},
	{
		anchor: "protection-of-sources", cases: `^other namespaces: snapshot`, path: `sources\[snapshot snap\]`,
		why:   "Berth takes its finalizer off a snapshot that a claim named by reference, too.",
		holds: withoutElement("provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection"),
	},
	{
		anchor: "a-source-deleted-meanwhile", cases: `^default flags: clone, source deleted while the driver is busy$`, path: `.*`,
		why: "Berth repeats a request as it was until its outcome is known, and so finishes the clone.",
	},
	{
		anchor: "claims-of-another-api-group", cases: `^default flags: PersistentVolumeClaim of another group$`, path: `.*`,
		why: "A kind of another API group is a populator's business, even if it is called PersistentVolumeClaim.",
	},
	{
		anchor: "answers-without-a-volume", cases: `^default flags: answer without a handle$`, path: `outcome`,
		why:   "Berth says what is wrong with the driver's answer.",
		holds: values(string(silent), string(failed)),
	},
	{
		anchor: "answers-without-a-volume", cases: `: answer without a (handle|volume)$`, path: `leftInDriver`,
		why:   "Berth asks again until there is an answer that it can use, and then deletes what nobody wants.",
		holds: values(1.0, 0.0),
	},
	{
		anchor: "answers-without-a-volume", cases: `: answer without a volume$`, path: `outcome`,
		why:   "The established provisioner's process ends.",
		holds: values(string(died), string(failed)),
	},
	{
		anchor: "volumes-that-cannot-be-written-in-the-old-form", cases: `^gce-pd: in-tree class`, path: `deleteVolume|leftInDriver`,
		why: "Berth deletes the volume that no PersistentVolume can be written for.",
	},
	{
		anchor: "nodes-with-different-topology-keys", cases: `^different keys: Immediate$`,
		path: `createVolume\[0\]\.accessibility_requirements\..*|persistentVolume\.spec\.(nodeAffinity\..*|csi\.volumeAttributes\.pool)`,
		why:  "Berth names the segments of all nodes; the established provisioner takes the keys of one of them, at random.",
	},
	{
		anchor: "very-high-ordinals", cases: `^default flags: names that nearly are of a StatefulSet$`,
		path: `createVolume\[0\]\.accessibility_requirements\.preferred \(order\)|persistentVolume\.spec\.(nodeAffinity\..*|csi\.volumeAttributes\.pool)`,
		why:  "Berth counts on past 32 bits.",
	},
	{
		anchor: "order-in-a-node-affinity", path: `persistentVolume\.spec\.nodeAffinity\.required\.nodeSelectorTerms\[\d+\]\.matchExpressions \(order\)`,
		why: "Berth sorts the keys; the established provisioner leaves their order to chance.", sometimes: true,
	},
}

// values holds if these are the two values.
func values(peer, berth any) func(any, any) bool {
	return func(a, b any) bool { return a == peer && b == berth }
}

// withoutElement holds if the second list is the first without one element. An empty list may be left out.
func withoutElement(element string) func(any, any) bool {
	return func(peer, berth any) bool {
		had, _ := peer.([]any)
		has, _ := berth.([]any)
		rest := slices.DeleteFunc(slices.Clone(had), func(e any) bool { return e == element })
		return len(rest) == len(had)-1 && slices.Equal(rest, has)
	}
}
