package pool

// Want is what a volume asks of its pool. Terms are topology segments as the CSI request names them.
type Want struct {
	Bytes     int64
	Requisite []map[string]string
	Preferred []map[string]string
	// OnlyFirst tries nothing but the first preferred term.
	OnlyFirst bool
}

// Choice is the answer of Choose: Chosen, Full or TooLarge.
type Choice interface{ choice() }

type (
	// Chosen is the pool to use.
	Chosen struct {
		Key      Key
		Segments map[string]string
	}
	// Full says that no acceptable pool has room, or that there is no acceptable pool.
	Full struct {
		Acceptable bool  // there is an acceptable pool at all
		Largest    int64 // the largest volume one of them could still take
	}
	// TooLarge says that no acceptable pool takes volumes of this size, however empty.
	TooLarge struct{ MaxVolumeSize int64 }
)

func (Chosen) choice()   {}
func (Full) choice()     {}
func (TooLarge) choice() {}

// Choose picks the pool for a volume as the CSI specification orders it (TopologyRequirement): the first preferred
// term with room, else the emptiest pool of the requisite terms, else, when no requisite is given, the emptiest of all.
// Nothing is reserved.
func (t *Table) Choose(want Want) Choice {
	no := &refusal{want: want.Bytes}
	for _, term := range want.Preferred {
		if e := t.emptiestOf(no, term); e != nil {
			return chosen(e)
		}
		if want.OnlyFirst {
			return no.verdict()
		}
	}
	if len(want.Requisite) > 0 {
		if e := t.emptiestOf(no, want.Requisite...); e != nil {
			return chosen(e)
		}
		return no.verdict()
	}
	if len(t.byRoom) > 0 && t.byRoom[0].Largest() >= want.Bytes {
		return chosen(t.byRoom[0])
	}
	// The emptiest pool does not take it; a fuller one still may, if the emptiest is limited by its maximum volume size.
	if e := no.best(t.byRoom); e != nil {
		return chosen(e)
	}
	return no.verdict()
}

// emptiestOf is the emptiest pool with room among those that serve one of the terms.
func (t *Table) emptiestOf(no *refusal, terms ...map[string]string) *entry {
	var best *entry
	for _, term := range terms {
		if e := no.best(t.serving(term)); e != nil && (best == nil || emptier(e, best)) {
			best = e
		}
	}
	return best
}

// serving lists the pools that serve a term (see Matches). The usual term names exactly a pool's segments and costs
// one look-up. The result is only valid until the table changes.
func (t *Table) serving(term map[string]string) []*entry {
	if e, ok := t.byKey[KeyOf(term)]; ok {
		return []*entry{e}
	}
	var found []*entry
	for _, shape := range t.shapes { // pools described more coarsely than the term
		if len(shape) >= len(term) {
			continue
		}
		part := make(map[string]string, len(shape))
		for _, k := range shape {
			if v, ok := term[k]; ok {
				part[k] = v
			}
		}
		if e, ok := t.byKey[KeyOf(part)]; ok && len(part) == len(shape) {
			found = append(found, e)
		}
	}
	for k, v := range term { // pools described more finely: all of them have each of the term's pairs, so one pair finds them
		for _, e := range t.byPair[pair{k, v}] {
			if len(e.Segments) > len(term) && Matches(e.Segments, term) {
				found = append(found, e)
			}
		}
		break
	}
	return found
}

// refusal gathers why pools were passed over.
type refusal struct {
	want       int64
	acceptable bool
	largest    int64 // the largest volume a candidate could take now
	limit      int64 // the largest maximum volume size among candidates
	unlimited  bool  // a candidate has no maximum, or one that would do
}

// best is the emptiest of these pools that takes the volume.
func (r *refusal) best(pools []*entry) *entry {
	var best *entry
	for _, e := range pools {
		if e.Largest() >= r.want {
			if best == nil || emptier(e, best) {
				best = e
			}
			continue
		}
		r.acceptable = true
		r.largest = max(r.largest, e.Largest())
		r.limit = max(r.limit, e.MaxVolumeSize)
		r.unlimited = r.unlimited || e.MaxVolumeSize == 0 || e.MaxVolumeSize >= r.want
	}
	return best
}

func (r *refusal) verdict() Choice {
	if r.acceptable && !r.unlimited {
		return TooLarge{MaxVolumeSize: r.limit}
	}
	return Full{Acceptable: r.acceptable, Largest: r.largest}
}

func chosen(e *entry) Choice { return Chosen{Key: e.key, Segments: e.Segments} }

// Capacity is what GetCapacity reports for a set of pools.
type Capacity struct {
	Available int64
	// Largest is the largest volume that could be created, and LargestKnown whether it says more than Available does:
	// a pool has a maximum volume size, or the room is spread over several pools.
	Largest      int64
	LargestKnown bool
}

// Capacity sums up the pools that serve the term, or all pools if the term is nil.
func (t *Table) Capacity(term map[string]string) Capacity {
	pools := []*entry(t.byRoom)
	if term != nil {
		pools = t.serving(term)
	}
	c := Capacity{LargestKnown: len(pools) > 1}
	for _, e := range pools {
		c.Available += e.Free()
		c.Largest = max(c.Largest, e.Largest())
		c.LargestKnown = c.LargestKnown || e.MaxVolumeSize > 0
	}
	return c
}
