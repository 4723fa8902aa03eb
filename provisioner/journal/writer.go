package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// Run writes until ctx ends, and then once more what is to be taken out. It returns ErrTakenOver (wrapped) as soon as another leader turns
// out to have taken over: nothing can be recorded in this term any more.
func (j *Journal) Run(ctx context.Context) error {
	tidy := time.NewTicker(tidyAfter)
	defer tidy.Stop()
	defer j.rest()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
			defer cancel()
			if err := j.commit(last, j.take()); err != nil {
				klog.FromContext(ctx).Info("Finished entries are left in the journal, the next leader will find that they are", "err", err)
			}
			return nil
		case <-tidy.C:
			j.hope()
		case <-j.wake:
			j.gatherBatch(ctx)
		}
		j.begin()
		err := j.write(ctx, j.take())
		j.rest()
		if err != nil {
			return err
		}
	}
}

// writingLimit is how long the writer may take for one page: two writes, each with writeTimeout, and much to spare.
const writingLimit = 20 * writeTimeout

// begin says that the writer begins something that does not take long, rest that it waits.
func (j *Journal) begin() { j.since.Store(time.Now().UnixNano()) }
func (j *Journal) rest()  { j.since.Store(0) }

// Stuck is an error if the writer hangs in this process: claims wait for it, as they do for the API server, and nothing but a restart would end that.
func (j *Journal) Stuck() error {
	since := j.since.Load()
	if since == 0 {
		return nil
	}
	if taken := time.Since(time.Unix(0, since)); taken > writingLimit {
		return fmt.Errorf("the journal's writer must not take longer than %s for a page and is stuck since %s", writingLimit, taken.Round(time.Second))
	}
	return nil
}

// gatherBatch waits for more entries to share the write: for the more, the more are on record, and never long.
func (j *Journal) gatherBatch(ctx context.Context) {
	timer := time.NewTimer(window)
	defer timer.Stop()
	for !j.enough() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-j.wake:
		}
	}
}

// enough reports whether a write is worth its while.
func (j *Journal) enough() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	recent := j.arrivals.count(time.Now())
	return recent <= quiet || len(j.adds) >= min(largestBatch, recent/share)
}

// batch is what one round of writing carries.
type batch struct {
	adds    map[types.UID]*addition
	removes map[types.UID]bool
}

func (b batch) empty() bool { return len(b.adds) == 0 && len(b.removes) == 0 }

// take takes all that waits to be written.
func (j *Journal) take() batch {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.deposed != nil || j.passing() {
		return batch{}
	}
	taken := batch{adds: maps.Clone(j.adds), removes: j.removes}
	j.leaving, j.removes = maps.Clone(j.removes), map[types.UID]bool{}
	return taken
}

// write writes a batch, for as long as it takes, until ctx ends. The error is ErrTakenOver.
func (j *Journal) write(ctx context.Context, b batch) error {
	defer j.written()
	pause := retryStart
	for refusals := 0; !b.empty(); {
		err := j.commit(ctx, b)
		if permanent(err) {
			refusals++
		}
		switch {
		case err == nil:
			return nil
		case refusals == maxRefusals:
			j.giveBack(b)
			j.degrade(ctx, err)
			return nil
		case takenOver(err):
			j.depose(err)
			return err
		}
		klog.FromContext(ctx).Info("The journal cannot be written at the moment, will try again", "journal", j.config.Name, "after", pause, "err", err)
		timer := time.NewTimer(pause)
		j.rest()
		select {
		case <-ctx.Done():
			timer.Stop()
			j.giveBack(b)
			return nil
		case <-timer.C:
		}
		j.begin()
		pause = min(2*pause, retryMax)
		j.giveBack(b)
		b = j.take() // what came or went meanwhile goes along
	}
	return nil
}

// written says that nothing is being written any more.
func (j *Journal) written() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leaving = nil
}

// giveBack puts back what was not taken out.
func (j *Journal) giveBack(b batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for uid := range b.removes {
		if _, again := j.recorded[uid]; !again {
			j.removes[uid] = true
		}
	}
}

// depose tells those who wait, and all who come, that nothing more is recorded in this term.
func (j *Journal) depose(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.deposed = err
	for uid, add := range j.adds {
		add.err = err
		close(add.done)
		delete(j.adds, uid)
	}
}

// commit writes a batch to the pages that it concerns, and tells those who wait.
func (j *Journal) commit(ctx context.Context, b batch) error {
	if b.empty() {
		return nil
	}
	for _, planned := range j.plan(b) {
		j.begin()
		began := time.Now()
		err := planned.page.write(ctx, j.config.ConfigMaps, &j.mark, planned.change)
		if err != nil && retriable(planned.page, err) {
			err = planned.page.write(ctx, j.config.ConfigMaps, &j.mark, planned.change)
		}
		j.config.Observe(len(planned.change.add), time.Since(began), err)
		if err != nil {
			return fmt.Errorf("write %d entries: %w", len(planned.change.add), err)
		}
		j.onRecord(planned, b)
	}
	return nil
}

// retriable reports whether a write that failed can be tried again at once: the page was read anew since.
func retriable(p *page, err error) bool {
	return !errors.Is(err, ErrTakenOver) && p.exists && conflicts(err)
}

// planned is one page and what is to be written to it.
type planned struct {
	page   *page
	change change
}

// plan spreads a batch over pages: what is removed goes to where it is, what is added to the first page that has room.
func (j *Journal) plan(b batch) []planned {
	changes := map[*page]*change{}
	of := func(p *page) *change {
		if changes[p] == nil {
			changes[p] = &change{add: map[string][]byte{}}
		}
		return changes[p]
	}
	sizes := map[*page]int{}
	for uid := range b.removes {
		known := false
		for _, p := range j.pages {
			if size, ok := p.contents[string(uid)]; ok {
				known = true
				c := of(p)
				c.remove = append(c.remove, string(uid))
				sizes[p] -= size
			}
		}
		for _, p := range j.pages {
			if !known && p.exists { // a write whose result we did not hear may have put it anywhere
				c := of(p)
				c.remove = append(c.remove, string(uid))
			}
		}
	}
	for uid, add := range b.adds {
		p := j.room(string(uid), len(add.packed), sizes)
		of(p).add[string(uid)] = add.packed
		sizes[p] += len(add.packed) - p.contents[string(uid)]
	}
	var plan []planned
	for _, p := range j.pages {
		if c := changes[p]; c != nil && !c.empty() {
			plan = append(plan, planned{p, *c})
		}
	}
	return plan
}

// room is the page that an entry goes to: where one of its claim is already, or the first that it fits in, or a new one.
func (j *Journal) room(key string, size int, sizes map[*page]int) *page {
	for _, p := range j.pages {
		if _, ok := p.contents[key]; ok {
			return p
		}
	}
	for _, p := range j.pages {
		if used := p.size + sizes[p]; used == 0 || used+size <= maxPage {
			return p
		}
	}
	p := newPage(j.pageName(len(j.pages)))
	j.pages = append(j.pages, p)
	return p
}

func (j *Journal) pageName(number int) string { return pageName(j.config.Name, number) }

func pageName(journal string, number int) string {
	if number == 0 {
		return journal
	}
	return fmt.Sprintf("%s-%d", journal, number)
}

// onRecord tells those who wait that a page was written.
func (j *Journal) onRecord(p planned, b batch) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.degraded, j.hoping = "", false
	for key := range p.change.add {
		uid := types.UID(key)
		add := b.adds[uid]
		if j.adds[uid] == add { // else it was forgotten, or made anew, meanwhile
			delete(j.adds, uid)
			j.recorded[uid] = record{p.page.name, add.packed}
			close(add.done)
		}
		delete(b.adds, uid)
	}
	for _, key := range p.change.remove {
		delete(b.removes, types.UID(key))
	}
	if p.page.changed {
		p.page.changed = false
		j.repair(p.page)
	}
}

// repair has the entries written again that were on a page, and that somebody took out by hand. The lock is held.
func (j *Journal) repair(p *page) {
	for uid, entry := range j.recorded {
		if _, there := p.contents[string(uid)]; entry.page == p.name && !there && j.adds[uid] == nil {
			j.adds[uid] = &addition{packed: entry.packed, since: time.Now(), done: make(chan struct{})}
			j.signal()
		}
	}
}
