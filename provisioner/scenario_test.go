package provisioner

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/simtest"
	"github.com/berth-csi/berth/internal/worker"
)

var scenarioUpdate = flag.Bool("update", false, "write what TestScenarios sees into testdata")

// TestScenarios tells the stories in testdata, one a file: a line is something that happens, and the indented lines after it are everything
// that the provisioner does about it, in order. README.md there has the words.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			written, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var told string
			synctest.Test(t, func(t *testing.T) { told = tell(t, string(written)) })
			if *scenarioUpdate && told != string(written) {
				if err := os.WriteFile(file, []byte(told), 0o644); err != nil { //nolint:gosec // as the rest of the tree
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(strings.Split(string(written), "\n"), strings.Split(told, "\n")); diff != "" {
				t.Errorf("see it with: make update-scenarios\n%s", diff)
			}
		})
	}
}

// indent is in front of what the provisioner does.
const indent = "    "

// tell goes through a story and returns it with what the provisioner does today.
func tell(t *testing.T, story string) string {
	t.Helper()
	s := newScenario(t)
	defer s.end()
	var told strings.Builder
	for line := range strings.Lines(story) {
		if strings.HasPrefix(line, indent) {
			continue
		}
		told.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s.said()
		if err := s.line(strings.Fields(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, out := range s.said() {
			told.WriteString(indent + out + "\n")
		}
	}
	return told.String()
}

// scenario is a story that is being told: an API server, a driver, and a controller that does what a line says, when it says so.
type scenario struct {
	t        *testing.T
	server   *simtest.Server
	driver   *simtest.Driver
	settings Settings
	express  bool
	uids     map[types.UID]int // how many claims had the name

	c       *Controller // nil: none runs
	feeds   []*simFeed
	terms   int
	ctx     context.Context
	kill    context.CancelFunc
	running chan struct{} // closed when the journal does not run any more
	stale   bool          // caches hear of nothing

	creates, deletes []string // what the driver answers to the next calls
	pending          []*simtest.Operation
	faults           []fault // of the API server
	trap             string  // the effect in, or after, which the process is killed
	forbidden        string  // what may not be done

	mu  sync.Mutex // the journal notes from a goroutine of its own
	out []string
}

// fault is what becomes of the next call of a kind.
type fault struct{ call, how string }

func newScenario(t *testing.T) *scenario {
	t.Helper()
	s := &scenario{t: t, server: simtest.NewServer(), driver: &simtest.Driver{}, uids: map[types.UID]int{}}
	s.settings = Settings{
		Driver:     csi.Driver{Name: testDriver, Snapshots: true, Clones: true, PublishUnpublish: true},
		NamePrefix: "pvc", NameUUIDLength: -1,
	}
	return s
}

// say notes something that the provisioner does.
func (s *scenario) say(format string, arguments ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(s.out, fmt.Sprintf(format, arguments...))
}

// said returns what was noted since it was asked last.
func (s *scenario) said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.out
	s.out = nil
	return out
}

// noted is the number of notes.
func (s *scenario) noted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.out)
}

// start has a provisioner lead.
func (s *scenario) start() {
	s.terms++
	settings := s.settings
	settings.Identity = fmt.Sprintf("%d-0-%s", s.terms, testDriver)
	var c *Controller
	c = simController(settings, s.express, s.server, s.gateOf(&c), scenarioDriver{s, &c})
	s.c = c
	s.feeds = simFeeds(s.c, s.server)
	s.c.snapshots, s.c.began = nil, time.Now()
	for _, feed := range s.feeds {
		feed.sync(len(s.server.Log(feed.kind)))
	}
	s.ctx, s.kill = context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	s.running = make(chan struct{})
	go func(c *Controller, ctx context.Context, ended chan struct{}) {
		defer close(ended)
		if err := c.journal.Run(ctx); err != nil {
			s.say("the term ends: %v", err)
		}
	}(s.c, s.ctx, s.running)
	s.c.restore(s.ctx)
	s.events(s.c)
	for _, line := range s.open() {
		s.say("to be found out: %s", line)
	}
}

// end ends whatever runs, without a word.
func (s *scenario) end() {
	if s.c == nil {
		return
	}
	c := s.c
	s.c = nil
	s.kill()
	<-s.running
	discardLoop(c.claimLoop)
	discardLoop(c.volumeLoop)
	discardLoop(c.sourceLoop)
	discardLoop(c.bindLoop)
	discardLoop(c.events.loop)
}

// step has the controller work on one key, and tells what came of it.
func (s *scenario) step(work func(context.Context) worker.Result) error {
	if s.c == nil {
		s.start()
	}
	c := s.c
	result := work(s.ctx)
	synctest.Wait()
	if s.c == nil { // killed meanwhile
		return nil
	}
	told := s.events(c)
	s.say("%s", outcome(result, told))
	return nil
}

// events tells what people are told, and reports whether there was anything.
func (s *scenario) events(c *Controller) bool {
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	first := s.noted()
	for id := uint64(1); id <= c.events.next; id++ {
		if entry := c.events.pending[id]; entry != nil {
			s.say("event on %s: %s %s: %s", entry.event.InvolvedObject.Name, entry.event.Type, entry.event.Reason, entry.event.Message)
			delete(c.events.pending, id)
		}
	}
	return s.noted() > first
}

// outcome is a result in words. Why is left out where people were told.
func outcome(result worker.Result, told bool) string {
	words := result.String()
	if told {
		words, _, _ = strings.Cut(words, ": ")
	}
	return words
}
