package lead

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func TestHowLongTheLeaseIsSomebodyElses(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	held := func(holder string, seconds int) resourcelock.LeaderElectionRecord {
		return resourcelock.LeaderElectionRecord{HolderIdentity: holder, LeaseDurationSeconds: seconds}
	}
	for name, tt := range map[string]struct {
		seen sighting
		want time.Duration
	}{
		"nobody has it": {sighting{held("", 15), now}, 0},
		"it is this replica's from a former life":       {sighting{held("self", 15), now}, 0},
		"it has just been renewed":                      {sighting{held("other", 15), now}, 15 * time.Second},
		"it was renewed a while ago":                    {sighting{held("other", 15), now.Add(-11 * time.Second)}, 4 * time.Second},
		"it expires now":                                {sighting{held("other", 15), now.Add(-15 * time.Second)}, 0},
		"it expired long ago":                           {sighting{held("other", 15), now.Add(-time.Hour)}, 0},
		"the holder's clock is an hour ahead":           {sighting{ahead(held("other", 15), now), now.Add(-16 * time.Second)}, 0},
		"the holder has a longer lease than this would": {sighting{held("other", 60), now.Add(-15 * time.Second)}, 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.seen.left("self", now); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func ahead(record resourcelock.LeaderElectionRecord, now time.Time) resourcelock.LeaderElectionRecord {
	record.RenewTime = metav1.NewTime(now.Add(time.Hour))
	return record
}

// usual are the settings that nobody has changed, with which the established provisioner runs, too.
func usual(client *fake.Clientset, identity string) Config {
	c := config(client, identity)
	c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = 15*time.Second, 10*time.Second, 5*time.Second
	return c
}

// leadsAfter runs a replica and returns a channel that says when it leads, and one that says how it ended.
func leadsAfter(ctx context.Context, config Config) (leads chan time.Time, ended chan error) {
	leads, ended = make(chan time.Time, 1), make(chan error, 1)
	go func() {
		ended <- New(config).Run(ctx, "driver", func(ctx context.Context) error {
			leads <- time.Now()
			<-ctx.Done()
			return nil
		})
	}()
	return leads, ended
}

func TestAStandbyLeadsAtOnceWhenTheLeaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		first, stopFirst := context.WithCancel(t.Context())
		firstLeads, firstEnded := leadsAfter(first, usual(client, "a"))
		<-firstLeads
		second, stopSecond := context.WithCancel(t.Context())
		secondLeads, secondEnded := leadsAfter(second, usual(client, "b"))
		time.Sleep(time.Minute) // of the bubble's clock: some renewals
		stopped := time.Now()
		stopFirst()
		if pause := (<-secondLeads).Sub(stopped); pause != 0 {
			t.Errorf("nobody led for %s", pause)
		}
		stopSecond()
		for _, ended := range []chan error{firstEnded, secondEnded} {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		if got := holder(t, client); got != "" {
			t.Errorf("in the end the lease is held by %q, want nobody", got)
		}
	})
}

func TestAStandbyLeadsWhenTheLeaseOfADeadLeaderExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(heldBy("dead"))
		ctx, stop := context.WithCancel(t.Context())
		leads, ended := leadsAfter(ctx, usual(client, "b"))
		for range 7 { // the leader renews, and then does not
			time.Sleep(3 * time.Second)
			if _, err := client.CoordinationV1().Leases("ns").Update(t.Context(), heldBy("dead"), metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		renewed := time.Now()
		if pause := (<-leads).Sub(renewed); pause != 15*time.Second {
			t.Errorf("the lease is taken %s after it was renewed last, want 15s", pause)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A role that was made for a polling elector need not grant watch; the established provisioner's does.
func TestAStandbyThatMayNotWatchLooksNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependWatchReactor("leases", func(clienttesting.Action) (bool, watch.Interface, error) {
			return true, nil, apierrors.NewForbidden(coordinationv1.Resource("leases"), "driver", nil)
		})
		first, stopFirst := context.WithCancel(t.Context())
		firstLeads, firstEnded := leadsAfter(first, usual(client, "a"))
		<-firstLeads
		second, stopSecond := context.WithCancel(t.Context())
		secondLeads, secondEnded := leadsAfter(second, usual(client, "b"))
		time.Sleep(time.Minute)
		stopped := time.Now()
		stopFirst()
		if pause := (<-secondLeads).Sub(stopped); pause > 11*time.Second {
			t.Errorf("nobody led for %s", pause)
		}
		stopSecond()
		for _, ended := range []chan error{firstEnded, secondEnded} {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestADeadWatchTakesTheLeaseFromNobody: what was not heard of for as long as the lease lasts is looked up before it is believed.
func TestADeadWatchTakesTheLeaseFromNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		silent := watch.NewFake()
		client.PrependWatchReactor("leases", func(clienttesting.Action) (bool, watch.Interface, error) { return true, silent, nil })
		first, stopFirst := context.WithCancel(t.Context())
		firstLeads, firstEnded := leadsAfter(first, usual(client, "a"))
		<-firstLeads
		second, stopSecond := context.WithCancel(t.Context())
		secondLeads, secondEnded := leadsAfter(second, usual(client, "b"))
		time.Sleep(5 * time.Minute)
		select {
		case <-secondLeads:
			t.Error("both lead")
		default:
		}
		stopSecond()
		stopFirst()
		for _, ended := range []chan error{firstEnded, secondEnded} {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestOfManyStandbysOneLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(heldBy("dead"))
		refuseStale(client)
		ctx, stop := context.WithCancel(t.Context())
		var replicas []chan time.Time
		var ends []chan error
		for _, identity := range []string{"a", "b", "c", "d"} {
			leads, end := leadsAfter(ctx, usual(client, identity))
			replicas, ends = append(replicas, leads), append(ends, end)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		leading := 0
		for _, leads := range replicas {
			leading += len(leads)
		}
		if leading != 1 {
			t.Errorf("%d lead, want 1", leading)
		}
		stop()
		for _, end := range ends {
			if err := <-end; err != nil {
				t.Error(err)
			}
		}
	})
}

// heldBy is a lease that was just renewed.
func heldBy(identity string) *coordinationv1.Lease {
	now := metav1.NewMicroTime(time.Now())
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "driver"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &identity, LeaseDurationSeconds: new(int32(15)), AcquireTime: &now, RenewTime: &now,
		},
	}
}

// refuseStale has the fake do what it leaves out: an update of something older than what is stored is a conflict.
func refuseStale(client *fake.Clientset) {
	generation := 0
	client.PrependReactor("update", "leases", func(action clienttesting.Action) (bool, runtime.Object, error) {
		lease := action.(clienttesting.UpdateAction).GetObject().(*coordinationv1.Lease).DeepCopy()
		stored, err := client.Tracker().Get(coordinationv1.SchemeGroupVersion.WithResource("leases"), lease.Namespace, lease.Name)
		if err != nil {
			return true, nil, err
		}
		if stored.(*coordinationv1.Lease).ResourceVersion != lease.ResourceVersion {
			return true, nil, &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonConflict, Code: http.StatusConflict}}
		}
		generation++
		lease.ResourceVersion = time.Duration(generation).String()
		return true, lease, client.Tracker().Update(coordinationv1.SchemeGroupVersion.WithResource("leases"), lease, lease.Namespace)
	})
}
