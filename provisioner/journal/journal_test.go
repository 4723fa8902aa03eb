package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/berth-csi/berth/datasource"
)

func makeEntry(number int) *Entry {
	uid := fmt.Sprintf("9f2c1a34-0000-4000-8000-%012d", number)
	return &Entry{
		Claim: corev1.ObjectReference{Kind: "PersistentVolumeClaim", APIVersion: "v1", Namespace: "ns", Name: fmt.Sprintf("data-%d", number), UID: types.UID(uid)},
		Class: "fast", SelectedNode: "node-1", MigratedFrom: "kubernetes.io/cinder",
		Source: datasource.Reference{Kind: datasource.Snapshot, Namespace: "ns", Name: "s", Group: "snapshot.storage.k8s.io", ResourceKind: "VolumeSnapshot"},
		Secret: &corev1.SecretReference{Namespace: "ns", Name: "secret"},
		Request: &csipb.CreateVolumeRequest{
			Name: "pvc-" + uid, CapacityRange: &csipb.CapacityRange{RequiredBytes: 1 << 30}, Parameters: map[string]string{"tier": "gold"},
			AccessibilityRequirements: &csipb.TopologyRequirement{Requisite: []*csipb.Topology{{Segments: map[string]string{"zone": "a"}}}},
		},
		Template: &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "pvc-" + uid, Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": "driver.example"}},
			Spec:       corev1.PersistentVolumeSpec{PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "driver.example"}}},
		},
		Began: time.Unix(1_700_000_000, 0).UTC(),
	}
}

func makeJournal(client *fake.Clientset, holder string, changes ...func(*Config)) *Journal {
	config := Config{ConfigMaps: client.CoreV1().ConfigMaps("system"), Name: "driver-journal", Holder: holder}
	for _, change := range changes {
		change(&config)
	}
	return New(config)
}

// running runs a journal in a bubble until the test is done with it; stop ends it cleanly.
func running(t *testing.T, j *Journal) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = j.Run(ctx) })
	stop = func() {
		cancel()
		run.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// load is what a next leader finds.
func load(t *testing.T, client *fake.Clientset) (names []string, unreadable []error) {
	t.Helper()
	entries, unreadable, err := makeJournal(client, "next").Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Claim.Name)
	}
	slices.Sort(names)
	return names, unreadable
}

func countWrites(client *fake.Clientset) int {
	writes := 0
	for _, action := range client.Actions() {
		if verb := action.GetVerb(); verb == "patch" || verb == "create" {
			writes++
		}
	}
	return writes
}

func TestAnEntryComesBackAsItWas(t *testing.T) {
	entry := makeEntry(1)
	packed, err := encode(entry)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(string(entry.UID()), packed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(entry, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	t.Logf("an entry takes %d bytes", len(packed))
	if len(packed) > 800 {
		t.Errorf("an entry takes %d bytes: does the dictionary still look like an entry?", len(packed))
	}
}

func TestSecretsAreNeverRecorded(t *testing.T) {
	entry := makeEntry(1)
	entry.Request.Secrets = map[string]string{"password": "hunter2"}
	j := makeJournal(fake.NewClientset(), "a")
	if err := j.Record(t.Context(), entry); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestTheNextLeaderFindsWhatWasNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		j := makeJournal(client, "a")
		stop := running(t, j)
		for number := range 3 {
			if err := j.Record(t.Context(), makeEntry(number)); err != nil {
				t.Fatal(err)
			}
		}
		j.Forget(makeEntry(1).UID())
		if names, _ := load(t, client); len(names) != 3 {
			t.Errorf("forgetting costs a write at once: %v are left", names)
		}
		if err := j.Record(t.Context(), makeEntry(3)); err != nil {
			t.Fatal(err)
		}
		names, _ := load(t, client)
		if diff := cmp.Diff([]string{"data-0", "data-2", "data-3"}, names); diff != "" {
			t.Errorf("forgotten entries leave with the next write: %s", diff)
		}
		j.Forget(makeEntry(0).UID())
		stop()
		if names, _ := load(t, client); len(names) != 2 {
			t.Errorf("after a clean stop %v are left", names)
		}
	})
}

func TestForgottenEntriesAreTidiedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		j := makeJournal(client, "a")
		running(t, j)
		if err := j.Record(t.Context(), makeEntry(1)); err != nil {
			t.Fatal(err)
		}
		j.Forget(makeEntry(1).UID())
		time.Sleep(tidyAfter + time.Second)
		synctest.Wait()
		if names, _ := load(t, client); len(names) != 0 {
			t.Errorf("%v are left", names)
		}
	})
}

func TestASingleClaimDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := makeJournal(fake.NewClientset(), "a")
		running(t, j)
		before := time.Now()
		if err := j.Record(t.Context(), makeEntry(1)); err != nil || time.Since(before) > 0 {
			t.Errorf("it took %s, %v", time.Since(before), err)
		}
	})
}

func TestArrivalsAreThoseOfTheLastSecond(t *testing.T) {
	var a arrivals
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	for ms := 0; ms < 2000; ms += 100 {
		a.note(at(ms))
	}
	if got := a.count(at(1999)); got < 10 || got > 15 {
		t.Errorf("of ten a second %d are counted", got)
	}
	if got := a.count(at(2600)); got < 1 || got > 10 {
		t.Errorf("half a second later %d are", got)
	}
	if got := a.count(at(4000)); got != 0 {
		t.Errorf("two seconds later %d are", got)
	}
	a.note(at(1_000_000))
	if got := a.count(at(1_000_000)); got != 1 {
		t.Errorf("after a long time %d are", got)
	}
}

func TestManyShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		slow := func(clienttesting.Action) (bool, runtime.Object, error) {
			time.Sleep(5 * time.Millisecond)
			return false, nil, nil
		}
		client.PrependReactor("patch", "configmaps", slow)
		client.PrependReactor("create", "configmaps", slow)
		j := makeJournal(client, "a")
		running(t, j)
		// 100 workers, each of which takes about half a second for a volume.
		const workers, each = 100, 5
		var crowd sync.WaitGroup
		for worker := range workers {
			crowd.Go(func() {
				for i := range each {
					entry := makeEntry(worker*each + i)
					if err := j.Record(t.Context(), entry); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Duration(400+worker*2) * time.Millisecond)
					j.Forget(entry.UID())
				}
			})
		}
		crowd.Wait()
		writes := countWrites(client)
		t.Logf("%d writes for %d volumes", writes, workers*each)
		if writes > workers*each/10 {
			t.Errorf("%d writes for %d volumes", writes, workers*each)
		}
	})
}

func TestPagesFillAndAreAllRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		j := makeJournal(client, "a")
		stop := running(t, j)
		const count = 3500
		var crowd sync.WaitGroup
		for number := range count {
			crowd.Go(func() {
				if err := j.Record(t.Context(), makeEntry(number)); err != nil {
					t.Error(err)
				}
			})
		}
		crowd.Wait()
		stop()
		names, unreadable := load(t, client)
		if len(names) != count || len(unreadable) != 0 {
			t.Errorf("%d entries and %d unreadable ones, want %d", len(names), len(unreadable), count)
		}
		pages, err := client.CoreV1().ConfigMaps("system").List(t.Context(), metav1.ListOptions{LabelSelector: Label + "=driver-journal"})
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages.Items {
			size := 0
			for _, value := range page.BinaryData {
				size += len(value)
			}
			t.Logf("%s: %d entries, %d bytes", page.Name, len(page.BinaryData), size)
			if size > maxPage {
				t.Errorf("page %s holds %d bytes", page.Name, size)
			}
		}
		if len(pages.Items) < 2 {
			t.Error("it all fits in one page, so the test shows nothing")
		}
	})
}

func TestWithoutPermissionEverythingPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		forbidden := true
		client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return forbidden, nil, apierrors.NewForbidden(corev1.Resource("configmaps"), "driver-journal", errors.New("no"))
		})
		told := 0
		j := makeJournal(client, "a", func(c *Config) { c.Degraded = func(error) { told++ } })
		running(t, j)
		for number := range 3 {
			if err := j.Record(t.Context(), makeEntry(number)); err != nil {
				t.Fatal(err)
			}
		}
		if j.Degraded() == "" || told != 1 {
			t.Errorf("degraded %q, told %d times", j.Degraded(), told)
		}
		forbidden = false // somebody granted it
		time.Sleep(tidyAfter + time.Second)
		if err := j.Record(t.Context(), makeEntry(4)); err != nil || j.Degraded() != "" {
			t.Fatalf("still degraded: %v, %q", err, j.Degraded())
		}
		if names, _ := load(t, client); !slices.Contains(names, "data-4") {
			t.Errorf("on record are %v", names)
		}
	})
}

func TestAnAPIServerThatIsAwayIsWaitedFor(t *testing.T) {
	tests := map[string]error{
		"no connection":                    errors.New("connection refused"),
		"refused while it reads its roles": apierrors.NewForbidden(corev1.Resource("configmaps"), "driver-journal", errors.New("not yet")),
		"overloaded":                       apierrors.NewTooManyRequestsError("later"),
	}
	for name, failure := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := fake.NewClientset()
				failures := 3
				client.PrependReactor("*", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
					failures--
					return failures >= 0, nil, failure
				})
				j := makeJournal(client, "a")
				running(t, j)
				if err := j.Record(t.Context(), makeEntry(1)); err != nil || j.Degraded() != "" {
					t.Fatalf("got %v, degraded %q", err, j.Degraded())
				}
				if names, _ := load(t, client); len(names) != 1 {
					t.Errorf("on record are %v", names)
				}
			})
		})
	}
}

func TestAWriteThatWasDoneWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		lost := 0
		// The write is done, its answer is lost; the next try meets what it has written.
		client.PrependReactor("create", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
			if lost++; lost > 1 {
				return false, nil, nil
			}
			create, _ := action.(clienttesting.CreateAction)
			if err := client.Tracker().Create(corev1.SchemeGroupVersion.WithResource("configmaps"), create.GetObject(), "system"); err != nil {
				t.Error(err)
			}
			return true, nil, errors.New("connection reset")
		})
		j := makeJournal(client, "a")
		running(t, j)
		if err := j.Record(t.Context(), makeEntry(1)); err != nil {
			t.Fatal(err)
		}
		if err := j.Record(t.Context(), makeEntry(2)); err != nil {
			t.Fatal(err)
		}
		names, _ := load(t, client)
		if diff := cmp.Diff([]string{"data-1", "data-2"}, names); diff != "" {
			t.Error(diff)
		}
	})
}

func TestARecordThatIsGivenUpIsTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		client.PrependReactor("create", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			time.Sleep(time.Second)
			return false, nil, nil
		})
		j := makeJournal(client, "a")
		stop := running(t, j)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := j.Record(ctx, makeEntry(1)); err == nil {
			t.Fatal("it did not give up")
		}
		time.Sleep(2 * time.Second) // the write is done after all
		if names, _ := load(t, client); len(names) != 1 {
			t.Fatalf("on record are %v", names)
		}
		stop()
		if names, _ := load(t, client); len(names) != 0 {
			t.Errorf("on record are %v", names)
		}
	})
}

func TestALeaderThatWasReplacedRecordsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		j := makeJournal(client, "a")
		running(t, j)
		if err := j.Record(t.Context(), makeEntry(1)); err != nil {
			t.Fatal(err)
		}
		load(t, client) // another one takes over
		// The fake API server does not compare versions, so the conflict is injected.
		client.PrependReactor("patch", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewConflict(corev1.Resource("configmaps"), "driver-journal", errors.New("changed"))
		})
		if err := j.Record(t.Context(), makeEntry(2)); !errors.Is(err, ErrTakenOver) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAPageThatSomebodyDeletesIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		j := makeJournal(client, "a")
		running(t, j)
		for number := range 3 {
			if err := j.Record(t.Context(), makeEntry(number)); err != nil {
				t.Fatal(err)
			}
		}
		j.Forget(makeEntry(1).UID())
		if err := client.CoreV1().ConfigMaps("system").Delete(t.Context(), "driver-journal", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := j.Record(t.Context(), makeEntry(3)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		names, _ := load(t, client)
		if diff := cmp.Diff([]string{"data-0", "data-2", "data-3"}, names); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatCannotBeReadIsKeptAside(t *testing.T) {
	good, err := encode(makeEntry(1))
	if err != nil {
		t.Fatal(err)
	}
	future := makeEntry(2)
	later, err := encode(future)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "driver-journal"},
		BinaryData: map[string][]byte{
			string(makeEntry(1).UID()): good,
			"garbage":                  []byte("garbage"),
			"another-claim":            later,
			"nothing":                  {},
		},
	})
	names, unreadable := load(t, client)
	if diff := cmp.Diff([]string{"data-1"}, names); diff != "" {
		t.Error(diff)
	}
	if len(unreadable) != 3 {
		t.Errorf("unreadable: %v", unreadable)
	}
	aside, err := client.CoreV1().ConfigMaps("system").Get(t.Context(), "driver-journal-unreadable", metav1.GetOptions{})
	if err != nil || len(aside.BinaryData) != 3 || string(aside.BinaryData["garbage"]) != "garbage" {
		t.Fatalf("aside: %v, %v", aside, err)
	}
	if _, unreadable := load(t, client); len(unreadable) != 0 {
		t.Errorf("it is reported again: %v", unreadable)
	}
}

func FuzzDecode(f *testing.F) {
	packed, err := encode(makeEntry(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(makeEntry(1).UID()), packed)
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, key string, packed []byte) {
		entry, err := decode(key, packed)
		if err == nil && (string(entry.UID()) != key || entry.Request.GetName() == "" || entry.Template == nil) {
			t.Errorf("an entry that is none was read: %v", entry)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	entry := makeEntry(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(entry); err != nil {
			b.Fatal(err)
		}
	}
}
