package datasource

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// fragile is an API that fails until it is told otherwise, and counts how often it was asked.
type fragile struct {
	mu    sync.Mutex
	err   error
	count int
}

func (f *fragile) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fragile) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

func (f *fragile) answer() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	return f.err
}

func (f *fragile) stand(client *clienttesting.Fake, verb, resource string) {
	client.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) {
		err := f.answer()
		return err != nil, nil, err
	})
}

func (f *fragile) watchReaction(clienttesting.Action) (bool, watch.Interface, error) {
	err := f.answer()
	return err != nil, nil, err
}

// logLines is what a watch logged about itself.
type logLines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func logged(t *testing.T) (*logLines, context.Context) {
	t.Helper()
	logs := &logLines{}
	return logs, klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(logs))))
}

// want compares the messages, each with its "why".
func (l *logLines) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var got []string
	for line := range strings.Lines(l.buffer.String()) {
		switch {
		case strings.Contains(line, `"Cannot watch, will try again"`):
			_, why, _ := strings.Cut(line, `why="`)
			why, _, _ = strings.Cut(why, `"`)
			got = append(got, "Cannot watch: "+why)
		case strings.Contains(line, `"Watching now"`):
			got = append(got, "Watching now")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, l.buffer.String())
	}
}

// What an informer knows of an API that goes away is forgotten: nobody would tell of changes.
func TestAnAPIThatGoesTakesItsObjectsAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newSnapshotClient(makeSnapshot())
		events := watch.NewFake()
		api := fragile{}
		client.PrependWatchReactor("volumesnapshots", func(action clienttesting.Action) (bool, watch.Interface, error) {
			if err := api.answer(); err != nil {
				return true, nil, err
			}
			return true, events, nil
		})
		mirror := NewSnapshotWatch(client, 0)
		added := 0
		mirror.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(any) { added++ }})
		logs, ctx := logged(t)
		watchSnapshots(ctx, t, mirror)
		if !mirror.Synced() || added != 1 {
			t.Fatal("not watched")
		}
		api.set(noSuchAPI(snapshotv1.Resource("volumesnapshots"), ""))
		events.Stop()
		time.Sleep(10 * time.Second) // the informer looks again after a while
		synctest.Wait()
		if found, watched := getSnapshot(t, mirror, "snap"); found || watched || mirror.Synced() {
			t.Error("what was known is still known")
		}
		logs.want(t, "Cannot watch: the cluster has no such API")

		events = watch.NewFake()
		api.set(nil)
		time.Sleep(defaultRetry)
		synctest.Wait()
		if !mirror.Synced() || added != 2 {
			t.Errorf("not watched again, or the handler did not hear of it: %d", added)
		}
		logs.want(t, "Cannot watch: the cluster has no such API", "Watching now")
	})
}

// What passes is left to the informer, which keeps what it has.
func TestABreakInTheConnectionChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newSnapshotClient(makeSnapshot())
		api := fragile{err: errors.New("read tcp 127.0.0.1:40000: connection reset by peer")}
		api.stand(&client.Fake, "list", "volumesnapshots")
		mirror := NewSnapshotWatch(client, 0)
		logs, ctx := logged(t)
		watchSnapshots(ctx, t, mirror)
		time.Sleep(time.Minute)
		api.set(errors.New("read tcp 127.0.0.1:50000: connection reset by peer"))
		time.Sleep(time.Minute)
		if mirror.Synced() {
			t.Error("synced with nothing read")
		}
		logs.want(t, "Cannot watch: the server cannot be reached")
		api.set(apierrors.NewInternalError(errors.New("etcd")))
		time.Sleep(time.Minute)
		api.set(nil)
		time.Sleep(time.Minute)
		if found, watched := getSnapshot(t, mirror, "snap"); !found || !watched {
			t.Error("not watched after all")
		}
		logs.want(t, "Cannot watch: the server cannot be reached", "Cannot watch: InternalError", "Watching now")
	})
}

func TestWhatEndsAWatch(t *testing.T) {
	resource := snapshotv1.Resource("volumesnapshots")
	tests := map[string]struct {
		err  error
		ends bool
		logs bool
	}{
		"its usual end":     {io.EOF, false, false},
		"a broken stream":   {io.ErrUnexpectedEOF, false, false},
		"it fell behind":    {apierrors.NewResourceExpired("too old"), false, false},
		"no such API":       {noSuchAPI(resource, ""), true, true},
		"no such object":    {apierrors.NewNotFound(resource, ""), true, true},
		"no right":          {apierrors.NewForbidden(resource, "", nil), true, true},
		"who are you":       {apierrors.NewUnauthorized("no"), false, true},
		"a server's defect": {apierrors.NewInternalError(errors.New("x")), false, true},
		"no connection":     {errors.New("connection refused"), false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := &mirror[*snapshotv1.VolumeSnapshot]{}
			if got := m.failed(t.Context(), tt.err); got != tt.ends || (m.problem != "") != tt.logs {
				t.Errorf("ends: %t, said %q", got, m.problem)
			}
		})
	}
}

func TestAnIndexThatIsNotThereIsEmpty(t *testing.T) {
	if got := indexed[*snapshotv1.VolumeSnapshot](cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil), "x", "y"); got != nil {
		t.Errorf("got %v", got)
	}
}
