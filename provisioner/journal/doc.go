// Package journal keeps a record, in the cluster, of volumes that are about to be created, so that none is lost with the process that
// asked for it.
//
// Before a driver is asked for the first time, the whole request is recorded, without secrets. Whoever leads next finds the entries of
// whatever was under way, sends the same requests again, learns so what became of them, and stores or deletes the volumes. An entry
// is forgotten when its volume is stored, deleted again, or known not to exist.
//
// Entries are kept in ConfigMaps ("pages") beside the leader's Lease: one key an entry, the claim's UID, with a compressed JSON document as
// its value. Writing is a group commit: one patch carries every entry that came while the patch before it was on its way, or within a
// short window, and takes out what was forgotten meanwhile. A forgotten entry that is still there does no harm, so taking it out
// waits for company.
//
//	Record ──▶ batch ──window──▶ one PATCH ──▶ all its Records return
//	Forget ──▶ leaves with the next PATCH, or a minute later, or at the end
//
// Record returns only when the entry is on record. If the API server is away it waits; if it refuses for good (no permission), the
// journal says so loudly and lets everything pass: a replacement of the established provisioner must work with its role.
//
// Safe for concurrent use. Run owns the only goroutine. The package imports datasource, and nothing else of this project.
package journal
