package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

const (
	getCapacity        = "GetCapacity"
	capacityResource   = "csistoragecapacities.storage.k8s.io"
	unitPerKey         = "per key"
	unitPerKeyPerPoll  = "per key and poll"
	unitObjects        = "objects"
	unitWrites         = "writes"
	unitAnswers        = "answers"
	capacityTrailing   = 3 * time.Second // calls and writes that come after the last object was right
	capacityOneBytes   = 1 << 40
	capacityOneSize    = "1Ti"
	scrapes            = 5
	capacityQueue      = "csistoragecapacity"
	capacityClassLabel = "capacity-"
)

// capacityGroup has many nodes and a driver that takes its time to say how much room there is.
func capacityGroup() group {
	return group{
		name: "capacity",
		warm: warmImmediate,
		once: true,
		only: publishers,
		world: &world{
			driver: func(o Options, _ time.Duration) harness.DriverOptions {
				config := harness.DriverConfig{DriverName: harness.DefaultDriverName, Data: "none", Generate: []harness.DriverPools{
					{Key: harness.ZoneKey(harness.DefaultDriverName), Prefix: zonePrefix, Count: o.Capacity.Nodes, Size: capacityOneSize},
				}}
				return harness.DriverOptions{Config: config, Faults: []harness.Fault{slowCapacity(o.Capacity.Latency)}}
			},
			zones: func(o Options) []string { return numberedZones(o.Capacity.Nodes) },
			classes: func(_ Options, driver string) []*storagev1.StorageClass {
				return []*storagev1.StorageClass{harness.StorageClass(classImmediate, driver)}
			},
			flags: publishing,
		},
		scenarios: []scenario{
			{name: "capacity", run: runCapacity},
			{name: "capacity-polls", run: runCapacityPolls},
			{name: "capacity-slow", run: runCapacitySlow},
		},
		estimate: func(s subject, o Options) time.Duration {
			c := o.Capacity
			return time.Duration(c.Nodes)*10*time.Millisecond + min(c.Limit, time.Duration(c.keys())*s.capacityPace) +
				2*time.Duration(c.Polls)*c.PollInterval + 30*time.Second
		},
	}
}

// publishers are the subjects that publish capacity.
func publishers(name string) bool { return name != subjectFloor }

func slowCapacity(latency time.Duration) harness.Fault {
	return harness.Fault{Method: getCapacity, Latency: latency.String()}
}

// keys is how many objects there should be.
func (c CapacityOptions) keys() int { return c.Nodes * c.Classes }

func (c CapacityOptions) classNames() []string {
	names := make([]string, c.Classes)
	for i := range names {
		names[i] = capacityClassLabel + strconv.Itoa(i)
	}
	return names
}

// want is what every object should say.
func (c CapacityOptions) want() map[place]int64 {
	want := map[place]int64{}
	for _, class := range c.classNames() {
		for _, zone := range numberedZones(c.Nodes) {
			want[place{class, zone}] = capacityOneBytes
		}
	}
	return want
}

// runCapacity makes the classes, and waits until there is an object for each of them and each node.
func runCapacity(ctx context.Context, e *environment, o Options) ([]reading, error) {
	p, stop, err := watchPublished(ctx, e.client, e.driver.Name, o.Capacity.want())
	if err != nil {
		return nil, err
	}
	defer stop()
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	for _, name := range o.Capacity.classNames() {
		class := harness.StorageClass(name, e.driver.Name, harness.WaitForFirstConsumer, func(class *storagev1.StorageClass) {
			class.Parameters = map[string]string{"tier": name}
		})
		if _, err := e.client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("create class %s: %w", name, err)
		}
	}
	all, err := e.within(ctx, o.Capacity.Limit, p.complete)
	if err = errors.Join(err, p.err()); err != nil {
		return nil, err
	}
	right, tooMany := p.count()
	readings := publishedReadings(publication{right, tooMany, o.Capacity.keys(), all, p.since(m.start), time.Since(m.start)})
	sleep(ctx, capacityTrailing)
	costs, err := m.capacityCosts(ctx, o.Capacity.keys())
	return append(readings, costs...), err
}

// A publication is how far a subject has come.
type publication struct {
	right, tooMany, keys int
	all                  bool
	took, waited         time.Duration // until the last object was right, and until there was no more waiting
}

// publishedReadings tell how long all took. If that was not waited for it is told what it would be at the pace so far, under a name of its own.
func publishedReadings(p publication) []reading {
	readings := []reading{{"published", unitObjects, float64(p.right)}, {"published_too_many", unitObjects, float64(p.tooMany)}}
	switch {
	case p.all:
		return append(readings, reading{"all_published_seconds", unitSeconds, p.took.Seconds()})
	case p.right > 0:
		estimate := p.waited.Seconds() * float64(p.keys) / float64(p.right)
		return append(readings, reading{"all_published_estimate_seconds", unitSeconds, estimate})
	}
	return readings
}

// runCapacityPolls has another one of the subject go on with what there is, and watches it poll once it has asked about everything, or the time is up.
func runCapacityPolls(ctx context.Context, e *environment, o Options) ([]reading, error) {
	before := time.Now()
	counts, err := e.driver.CallCounts(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.restart(ctx, append(publishing(o), "--capacity-poll-interval="+o.Capacity.PollInterval.String())); err != nil {
		return nil, err
	}
	unasked := o.Capacity.keys()
	if _, err := e.within(ctx, o.Capacity.Limit, func() bool {
		now, err := e.driver.CallCounts(ctx)
		if err == nil {
			unasked = max(0, o.Capacity.keys()-now[getCapacity]+counts[getCapacity])
		}
		return unasked == 0
	}); err != nil {
		return nil, err
	}
	requests, err := e.controlPlane.Requests(ctx, harness.RequestFilter{Since: before})
	if err != nil {
		return nil, err
	}
	readings := []reading{
		{"new_leader_writes", unitWrites, float64(capacityWrites(requests, e.subject.userAgent))},
		{"unasked", unitObjects, float64(unasked)},
	}
	polls, err := measurePolls(ctx, e, o)
	return append(readings, polls...), err
}

// runCapacitySlow watches it with a driver that takes longer.
func runCapacitySlow(ctx context.Context, e *environment, o Options) ([]reading, error) {
	if err := e.driver.SetFaults(ctx, slowCapacity(o.Capacity.SlowLatency)); err != nil {
		return nil, err
	}
	return measurePolls(ctx, e, o)
}

// measurePolls watches a subject for some poll intervals in which nothing happens.
func measurePolls(ctx context.Context, e *environment, o Options) ([]reading, error) {
	m, err := beginMeasurement(ctx, e)
	if err != nil {
		return nil, err
	}
	before, err := e.process.Usage()
	if err != nil {
		return nil, err
	}
	sleep(ctx, time.Duration(o.Capacity.Polls)*o.Capacity.PollInterval)
	after, err := e.process.Usage()
	if err != nil {
		return nil, err
	}
	calls, err := e.driver.Calls(ctx, getCapacity)
	if err != nil {
		return nil, err
	}
	asked := callsIn(calls, window{m.start, time.Now()})
	readings := []reading{
		{"driver_calls_per_key_per_poll", unitPerKeyPerPoll, float64(asked) / float64(o.Capacity.keys()*o.Capacity.Polls)},
		{"rss_growth_bytes", unitBytes, float64(after.RSS - before.RSS)},
	}
	costs, err := m.capacityCosts(ctx, o.Capacity.keys())
	return append(readings, costs...), err
}

func callsIn(calls []harness.Call, w window) int {
	n := 0
	for _, call := range calls {
		if w.contains(call.Time) {
			n++
		}
	}
	return n
}

// capacityCosts are the meters of a scenario that is about objects and not about volumes.
func (m *measurement) capacityCosts(ctx context.Context, keys int) ([]reading, error) {
	if !m.e.process.Running() {
		return nil, errSubjectEnded
	}
	w, readings, err := m.costs(ctx)
	if err != nil {
		return nil, err
	}
	requests, err := m.e.controlPlane.Requests(ctx, harness.RequestFilter{Since: w.start, Until: w.end})
	if err != nil {
		return nil, err
	}
	writes := capacityWrites(requests, m.e.subject.userAgent)
	readings = append(readings, reading{"capacity_writes", unitWrites, float64(writes)},
		reading{"api_writes_per_key", unitPerKey, perVolume(writes, keys)})
	for _, r := range requestReadings(requests, m.e.subject.userAgent, keys) {
		if strings.HasPrefix(r.metric, "api_requests") {
			readings = append(readings, r)
		}
	}
	calls, err := m.e.driver.Calls(ctx, getCapacity)
	if err != nil {
		return nil, err
	}
	readings = append(readings, reading{"driver_calls_per_key", unitPerKey, perVolume(callsIn(calls, w), keys)})
	scraped, err := m.e.scrape(ctx)
	return append(readings, scraped...), err
}

// capacityWrites are the subject's writes of CSIStorageCapacity objects, refused ones too.
func capacityWrites(requests []harness.RequestCount, userAgent string) int {
	n := 0
	for _, r := range requests {
		if r.UserAgent == userAgent && r.Resource == capacityResource && slices.Contains(writeVerbs, r.Verb) {
			n += r.Count
		}
	}
	return n
}

// scrape reads the subject's metrics a few times: how long that takes, and how much of its work waits.
func (e *environment) scrape(ctx context.Context) ([]reading, error) {
	var took []time.Duration
	depth := -1.0
	for range scrapes {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.replicas[0].MetricsURL(), nil)
		if err != nil {
			return nil, err
		}
		start := time.Now()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, fmt.Errorf("read the subject's metrics: %w", err)
		}
		data, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("read the subject's metrics: %s: %w", response.Status, err)
		}
		took = append(took, time.Since(start))
		depth = queueDepth(string(data), capacityQueue)
	}
	readings := []reading{{"scrape_seconds", unitSeconds, percentile(took, 50)}}
	if depth >= 0 {
		readings = append(readings, reading{"queue_depth", unitObjects, depth})
	}
	return readings, nil
}

// queueDepth finds how much waits in a queue, and is less than 0 if the metrics do not tell.
func queueDepth(metrics, queue string) float64 {
	for line := range strings.Lines(metrics) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "workqueue_depth{") && strings.Contains(name, `name="`+queue+`"`) {
			if depth, err := strconv.ParseFloat(value, 64); err == nil {
				return depth
			}
		}
	}
	return -1
}
