// Package webhook answers the API server's admission reviews. It never stands in a cluster's way: what it cannot read, decide or find out
// is let in, with a warning where that helps, because the provisioner applies the same rules again.
//
// Mutate gives a claim of this driver to the driver as it is created, which the controller-manager would do later, and for Immediate
// binding notes which segments have room. Validate keeps out a claim whose volume mode could never be had from its data source.
// ValidateContent keeps snapshots' contents from being tampered with. All three are pure: values in, one Result out.
//
//	POST ─▶ decode ─▶ look up in caches ─▶ Mutate, Validate ─▶ Result ─▶ patch on the raw JSON ─▶ answer
//	                        ▲                      │ would refuse
//	                        └── one live read ◀────┘
//
// Handler serves them, on every replica and without side effects, so a dry run needs no special care. It is safe for concurrent use.
// Lookups is what it reads: caches, and the API server at most once, before a claim is refused or where no cache has what the rule needs.
// A panic in a decision counts as "could not decide".
//
// The package may import datasource, topology and internal packages. It never imports csi: admission must not need the driver.
package webhook
