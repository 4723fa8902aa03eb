// Package capacity shows the scheduler what room there is: it publishes a CSIStorageCapacity object for each storage class and segment (KEP-1472).
//
// What is published is what the driver reported, less what is reserved for volumes whose creation the report may not show yet, and less
// than any size that the driver has just had no room for. Three small machines work on it, each keyed by comparable values:
//
//	poll ─────┐                        (poll.go)     every pool has its moment in each interval
//	touched ──┴─▶ Pool ─GetCapacity─▶ report ──┐     (report.go) classes with the same parameters share one question
//	reserved, exhausted, foreign edits ────────┴─▶ Key ─decide─▶ create, update, delete   (publish.go, decide.go)
//
// What they know is in a book (book.go), which events change and counters follow; the reservations are in its ledger (ledger.go). Nothing
// goes through all objects for one event: a segment costs as much as there are classes, a class as much as there are segments.
//
// An object belongs to a key by what it says, not by its name or by who made it, so those of the established provisioner are gone on with, and
// so are those of the leader before. decide.go, value.go and ledger.go are pure, and the place to change what is published.
//
// The package imports csi, topology and internal packages; it never imports provisioner or webhook. What the provisioner has to tell
// comes through the methods of Controller that its Room interface names. Run owns every goroutine that it starts; all methods may be called
// at any time, also before Run.
package capacity
