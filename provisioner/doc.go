// Package provisioner creates the volumes of claims and deletes the volumes that are released.
//
// A claim goes through four steps, each a function of its own:
//
//	gather   reads caches into an Input                          (gather.go)
//	decide   Decide(Input) Action, pure                          (decide.go)
//	act      calls the driver, writes to the API server          (claims.go, store.go)
//	conclude Conclude(Settings, Attempt, Result) Step, pure      (conclude.go)
//
// Volumes go the same way with DecideVolume (deletion.go, volumes.go). What is asked of the driver is settled once, in an Attempt
// (request.go), and repeated unchanged while its outcome is unknown:
//
//	                 ┌──────── unknown: the same request again ─────────┐
//	                 ▼                                                  │
//	claim ─Decide─▶ Attempt ─record─CreateVolume──▶ Conclude ───────────┘
//	                                             ├─ a volume as asked ──▶ Store ──▶ PersistentVolume
//	                                             ├─ another volume, or the claim is gone ──▶ CleanUp ──▶ DeleteVolume
//	                                             ├─ no room at the selected node ──▶ back to the scheduler
//	                                             └─ no volume ──▶ a new attempt, later
//
// An attempt is on record in the cluster from before the first call until it is closed (record.go, package journal), so that it outlives the
// process. What a volume is made from is looked up, protected and released in sources.go and protection.go.
//
// A claim whose volume is stored is bound to it with DecideBind (bind.go, binder.go), on keys and workers of its own, unless the controller-manager's
// binder is faster, or permissions do not allow it (express.go), or that binder has not caught up (backlog.go).
//
// In distributed mode (Settings.Node, node.go) one of these runs on each node, and a claim or volume is its own only if it is this node's: own.go decides
// about claims that no node has, take.go takes one when its turn has come (turns.go), strays.go gives those back that wait for a node without
// the driver, and minds.go says who minds a source.
//
// To change what is decided, change the pure files and their tables; the others only carry decisions out. The package imports csi,
// topology and internal packages; it never imports webhook, capacity or certs. Run owns every goroutine that it starts.
package provisioner
