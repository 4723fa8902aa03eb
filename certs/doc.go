// Package certs provides the certificate that the admission server serves with, and sees to it that the API server trusts it.
//
// There are two Sources. Files serves a certificate that somebody else keeps in files: cert-manager, whose ca-injector also tells the
// API server whom to trust, or a person. SelfManaged needs nobody. Its authority (a CA) is kept in a Secret, every replica signs a
// short-lived certificate with it in memory, and the leader replaces the authority in time and writes whom to trust into the webhook
// configurations.
//
// A signature must not be used before every API server trusts its authority, and an authority must be trusted until its last signature
// has expired. So authorities overlap:
//
//	        nothing usable in the Secret ──────┐
//	                                           ▼
//	stable ──overlap before the end──▶ prepared: the next authority is in the bundle
//	  ▲                                        │ every webhook carries the bundle
//	  │                                        ▼
//	  │                                trusted: since when, is stored
//	  │                                        │ propagation time
//	  │                                        ▼
//	  └──leaf life + propagation + skew── switched: the next authority signs, the former is still in the bundle
//
// The same way leads out of every accident. If the Secret is deleted or damaged, if authorities have expired in a long sleep or come from a
// clock that was wrong, the Secret holds a next authority and no current one: replicas go on with what they have if it is still trusted (what
// webhooks trusted so far stays in the bundle), and sign with the next authority at once if they have nothing valid.
//
// Where the certificate comes from files, Conditions (conditions.go) is what is left of that: the leader keeps the match conditions, and
// caBundle is somebody else's.
//
// Decide (decide.go) is pure and knows nothing but the Secret, the webhooks and the time; so whoever leads next goes on where the last
// leader was killed. chooseSigner (leaf.go) is its counterpart for a replica. The rest carries out:
//
//	every replica   SelfManaged.Run    watch the Secret, sign                      (selfmanaged.go)
//	leader only     SelfManaged.Lead   Decide, write the Secret (rotation.go), the webhook configurations (inject.go)
//
// Keys never leave memory but for the authorities' in the Secret. Webhook configurations are changed by server-side apply, and nothing
// in them but caBundle, and one matchCondition that the caller asks for: each with a field manager of its own, so that an
// expression that the API server refuses does not keep the bundle out. What a chart renders is left alone. A chart must
// never take a single webhook out of a configuration, though: our fields would be all that is left of it, which the API server
// refuses. It has one webhook in a configuration, and deletes that.
//
// What the self-managed mode must be allowed to do:
//
//	namespace of the Secret   secrets, resourceNames [its name]: get, list, watch, update
//	                          secrets: create                    (cannot be limited to a name)
//	cluster                   mutatingwebhookconfigurations, validatingwebhookconfigurations,
//	                          resourceNames [their names]: list, watch, patch
//
// The package imports only internal packages. Everything exported is safe for concurrent use; Run and Lead own every goroutine they start.
package certs
