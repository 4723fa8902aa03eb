package explain

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/datasource"
)

var update = flag.Bool("update", false, "write what TestExplanations sees into testdata")

// TestExplanations shows what people read. See a change with: make update-explanations
func TestExplanations(t *testing.T) {
	tests := map[string]Facts{
		"a class that does not exist": situation(classGone, func(f *Facts) {
			f.Claim.Spec.StorageClassName = new("fasst")
			f.Classes = []storagev1.StorageClass{
				{ObjectMeta: metav1.ObjectMeta{Name: "archive"}}, {ObjectMeta: metav1.ObjectMeta{Name: "fast"}},
				{ObjectMeta: metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{annotationDefaultClass: "true"}}},
			}
			f.Events = seen([]corev1.Event{{
				InvolvedObject: corev1.ObjectReference{UID: claimUID}, Type: "Warning", Reason: "ProvisioningFailed", Count: 16, LastTimestamp: at(5 * time.Second),
				Message: `storageclass.storage.k8s.io "fasst" not found`, Source: corev1.EventSource{Component: "persistentvolume-controller"},
			}})
		}),
		"no pod yet": situation(delayedBinding, told(event("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding", 10*time.Second, 14))),
		"a pod without room": situation(delayedBinding, allowedZones("a", "b"),
			published(roomIn("a", "4Gi", ""), roomIn("b", "200Gi", "8Gi"), roomIn("c", "1Ti", "")),
			usedBy(pod(unschedulable("0/3 nodes are available: 1 node(s) didn't find available persistent volumes to bind, 2 node(s) did not have enough free storage.")))),
		"a pod for another zone": situation(delayedBinding, published(roomIn("a", "40Gi", ""), roomIn("b", "2Gi", "")),
			usedBy(pod(unschedulable("0/2 nodes are available: 1 node(s) did not have enough free storage, 1 node(s) didn't match Pod's node affinity/selector."),
				func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{zoneKey: "b"} }))),
		"no room in the driver": situation(told(
			event("Warning", "ProvisioningFailed", "the driver has no room for the volume: ResourceExhausted: pool is full", 40*time.Second, 7),
			event("Normal", "ExternalProvisioning", "Waiting for a volume to be created either by the external provisioner or manually.", 5*time.Second, 16),
		)),
		"a request that the driver refuses": situation(selected("n2", "b"), usedBy(pod()), told(event("Warning", "ProvisioningFailed",
			`the driver refuses the request as it is; make the claim again, or its class "fast", with what the driver can do: InvalidArgument: unknown parameter "tpye"`, 2*time.Minute, 1))),
		"a snapshot of another mode": situation(fromSnapshot(), func(f *Facts) { f.Claim.Spec.VolumeMode = new(corev1.PersistentVolumeBlock) }),
		"a bound claim":              situation(boundClaim),
		"berth does not run":         situation(func(f *Facts) { f.Leases = seen([]coordinationv1.Lease{lease("berth-7d9f", 17*time.Minute)}) }),
		"a deleted claim in use": situation(boundClaim, deleting, usedBy(pod(func(p *corev1.Pod) { p.Spec.NodeName = "n1" })), func(f *Facts) {
			f.Attachments = seen([]storagev1.VolumeAttachment{attachment("n1")})
		}),
		"nothing may be read": situation(delayedBinding, func(f *Facts) {
			f.Leases, f.Journal, f.Nodes, f.Rooms = Look[[]coordinationv1.Lease]{Sight: Hidden}, Look[JournalFacts]{Sight: Hidden}, Look[[]NodeFacts]{Sight: Hidden}, Look[[]storagev1.CSIStorageCapacity]{Sight: Hidden}
			f.Volume.Sight, f.CSIDriver.Sight = Hidden, Hidden
			f.Unseen = []Unseen{
				{What: "the CSIDriver", Why: "csidrivers is forbidden", Forbidden: true},
				{What: "the Leases of all namespaces (--driver-namespace names one)", Why: "leases is forbidden", Forbidden: true},
				{What: "the CSINodes", Why: "there was no time left"},
			}
		}),
		"a claim that does not exist": {
			Now: three, Namespace: "shop", Name: "dta",
			Missing: Missing{Namespace: seen(&metav1.PartialObjectMetadata{}), Others: seen([]string{"logs", "data", "data-web-0"}), Elsewhere: seen([]string{})},
		},
		"a claim of another namespace": {
			Now: three, Namespace: "shop", Name: "data",
			Missing: Missing{Namespace: seen(&metav1.PartialObjectMetadata{}), Others: seen([]string{}), Elsewhere: seen([]string{"shop-staging"})},
		},
		"a source that is not ready": situation(fromSnapshot(func(s *datasource.Facts) {
			s.Snapshot.Status.ReadyToUse = new(false)
		})),
		"no node takes a claim": situation(onEachNode("n1", "n2", "n3"), published(onNode("n1", roomIn("a", "4Gi", "")), onNode("n2", roomIn("b", "200Gi", "8Gi")))),
		"a node without the driver": situation(selected("n9", "d"), onEachNode("n1", "n2", "n3"), usedBy(pod()), func(f *Facts) {
			f.CSINode.Value.Spec.Drivers = f.CSINode.Value.Spec.Drivers[:1]
		}),
		"a node without berth":          situation(selected("n9", "d"), onEachNode("n1", "n2", "n3"), usedBy(pod())),
		"a creation of unknown outcome": situation(selected("n2", "b"), usedBy(pod()), recorded(90*time.Second)),
	}
	for name, facts := range tests {
		t.Run(name, func(t *testing.T) {
			findings := Diagnose(facts)
			var text, list bytes.Buffer
			if err := Print(&text, findings); err != nil {
				t.Fatal(err)
			}
			if err := PrintJSON(&list, findings); err != nil {
				t.Fatal(err)
			}
			for line := range strings.SplitSeq(text.String(), "\n") {
				if strings.TrimRight(line, " ") != line {
					t.Errorf("line %q ends in spaces", line)
				}
			}
			golden(t, name, ".txt", text.Bytes())
			golden(t, name, ".json", list.Bytes())
		})
	}
}

func golden(t *testing.T, name, extension string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+extension)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-%s +got):\n%s", path, diff)
	}
}
