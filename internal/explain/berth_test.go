package explain

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/datasource"
	"github.com/berth-csi/berth/provisioner"
)

func TestDiagnoseBerth(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"a Lease that is not renewed": {
			facts:   situation(leases(lease("berth-1", time.Hour))),
			verdict: "Pending: nobody provisions for driver pool.csi.example.com at the moment (its Lease was last renewed 60m ago).",
			found:   []string{"problem berth"},
			do:      []string{"kubectl get pods -n storage"},
		},
		"a Lease that was given up": {
			facts:   situation(leases(lease("", time.Hour))),
			verdict: "Pending: nobody provisions for driver pool.csi.example.com at the moment (its Lease was given up).",
			found:   []string{"problem berth"},
		},
		"a Lease that is not renewed does not matter before it is the provisioner's turn": {
			facts:   situation(delayedBinding, leases(lease("berth-1", time.Hour))),
			verdict: "Pending: it waits for a Pod that uses it (WaitForFirstConsumer), and there is none.",
			found:   []string{"waiting pod", "warning berth"},
		},
		"a Lease that is not renewed does not matter to a bound claim": {
			facts:   situation(boundClaim, leases(lease("berth-1", time.Hour))),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"was last renewed 60m ago"},
		},
		"of two Leases one is left over": {
			facts:   situation(leases(lease("berth-1", time.Hour), lease("berth-2", time.Second))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			found:   []string{"warning berth", "warning berth"},
		},
		"a Lease that says next to nothing": {
			facts: situation(leases(coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}})),
			found: []string{"problem berth"},
		},
		"no Lease and no journal": {
			facts:   situation(leases(), func(f *Facts) { f.Journal.Value.Where = "" }),
			verdict: "Pending: nobody can be seen to provision for driver pool.csi.example.com.",
			found:   []string{"warning berth"},
		},
		"no Lease and a journal": {
			facts:   situation(leases()),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			found:   []string{"warning berth"},
			tells:   []string{"storage/pool-csi-example-com-journal"},
		},
		"a Lease without a journal may be another provisioner's": {
			facts:   situation(func(f *Facts) { f.Journal.Value.Where = "" }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"The provisioner of driver pool.csi.example.com runs"},
		},
	})
}

func TestDiagnoseAssignment(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"a claim that was just made waits to be assigned": {
			facts: situation(func(f *Facts) {
				delete(f.Claim.Annotations, volumehelpers.AnnStorageProvisioner)
				f.Claim.CreationTimestamp = at(5 * time.Second)
			}),
			verdict: "Pending: it is about to be assigned to driver pool.csi.example.com.",
			found:   []string{"waiting assignment"},
		},
		"a claim that nobody assigns": {
			facts:   situation(func(f *Facts) { delete(f.Claim.Annotations, volumehelpers.AnnStorageProvisioner) }),
			verdict: "Pending: kube-controller-manager has not assigned it to driver pool.csi.example.com.",
			found:   []string{"problem assignment"},
		},
		"a claim that is assigned by the older annotation": {
			facts: situation(func(f *Facts) {
				f.Claim.Annotations = map[string]string{volumehelpers.AnnBetaStorageProvisioner: testDriver}
			}),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
		},
		"a claim that is assigned to another driver": {
			facts:   situation(func(f *Facts) { f.Claim.Annotations[volumehelpers.AnnStorageProvisioner] = "other" }),
			verdict: "Pending: it is assigned to other, and its class is of pool.csi.example.com now.",
			found:   []string{"problem assignment"},
		},
		"a claim of an in-tree class that was not told of the migration": {
			facts: situation(inTree),
			found: []string{"warning assignment"},
			tells: []string{"in-tree driver kubernetes.io/example, which pool.csi.example.com took over"},
		},
		"a claim of an in-tree class": {
			facts:   situation(inTree, func(f *Facts) { f.Claim.Annotations[provisioner.AnnotationMigratedTo] = testDriver }),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
		},
	})
}

func TestDiagnoseJournal(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"an outcome that is not known": {
			facts:   situation(recorded(3 * time.Minute)),
			verdict: "Pending: driver pool.csi.example.com has been asked for its volume 3m ago and has not said how that ended.",
			found:   []string{"waiting journal"},
			do:      []string{"the driver's log for volume pvc-" + claimUID},
		},
		"an entry of a bound claim": {
			facts:   situation(boundClaim, recorded(time.Second)),
			verdict: "Bound to volume pvc-" + claimUID + ", 2d23h ago, in " + zoneKey + "=a.",
			tells:   []string{"leaves within a minute"},
		},
		"an entry of a claim that is being deleted": {
			facts: situation(deleting, recorded(time.Second)),
			found: []string{"waiting deletion"},
			tells: []string{"its outcome is found out, and then the volume is deleted"},
		},
		"a journal that cannot be read": {
			facts: situation(func(f *Facts) { f.Journal.Value.Unread = 2 }),
			found: []string{"warning journal"}, tells: []string{"2 entries of the journal cannot be read"},
		},
	})
}

func TestDiagnoseEvents(t *testing.T) {
	diagnoses(t, map[string]diagnosed{
		"the last failure, and when it is tried again": {
			facts:   situation(told(event("Warning", "ProvisioningFailed", "ResourceExhausted: full", 2*time.Minute, 1))),
			verdict: "Pending: the last try failed: ResourceExhausted: full.",
			found:   []string{"problem events"},
			tells:   []string{"By 03:03:00 UTC, in 3m at the latest"},
		},
		"a failure after which a try is due": {
			facts:   situation(told(event("Warning", "ProvisioningFailed", "full", 7*time.Minute, 4))),
			verdict: "Pending: the last try failed, 4 times so far: full.",
			found:   []string{"problem events"},
			tells:   []string{"It is due"},
		},
		"an event that says what was found already": {
			facts: situation(fromSnapshot(func(s *datasource.Facts) { s.Snapshot.Status.ReadyToUse = new(false) }),
				told(event("Warning", "ProvisioningFailed", "waiting for VolumeSnapshot shop/nightly to be ready to use", time.Second, 1))),
			verdict: "Pending: waiting for VolumeSnapshot shop/nightly to be ready to use.",
			found:   []string{"waiting data source"},
			tells:   []string{"ProvisioningFailed, last 1s ago, by pool.csi.example.com_berth-7d9f, in the same words."},
		},
		"a failure of long ago": {
			facts:   situation(told(event("Warning", "ProvisioningFailed", "full", 40*time.Minute, 4))),
			verdict: "Pending: nothing that can be seen from here stands in its way; the provisioner of driver pool.csi.example.com should create its volume.",
			tells:   []string{"nothing since, so this may be over"},
		},
		"a failure of a claim that waits for its first Pod": {
			facts:   situation(delayedBinding, told(event("Warning", "ProvisioningFailed", "full", time.Second, 1))),
			verdict: "Pending: it waits for a Pod that uses it (WaitForFirstConsumer), and there is none.",
			found:   []string{"waiting pod"},
		},
		"a failure after which the scheduler chooses again": {
			facts:   situation(delayedBinding, usedBy(pod()), told(event("Warning", "ProvisioningFailed", "no room for the volume near node", time.Second, 1))),
			verdict: "Pending: the last try failed: no room for the volume near node.",
			found:   []string{"waiting pod", "problem events"},
		},
		"an event of the newer kind": {
			facts: situation(told(corev1.Event{
				InvolvedObject: corev1.ObjectReference{UID: claimUID}, Type: "Warning", Reason: "ProvisioningFailed", Message: "a\nb\x1b[31mc",
				EventTime: metav1.MicroTime{Time: before(time.Hour)}, ReportingController: "someone",
				Series: &corev1.EventSeries{Count: 9, LastObservedTime: metav1.MicroTime{Time: before(time.Second)}},
			})),
			verdict: "Pending: the last try failed, 9 times so far: a b [31mc.",
			found:   []string{"problem events"},
			tells:   []string{"9 times, last 1s ago, by someone: a b [31mc"},
		},
	})
}
