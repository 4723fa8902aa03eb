// Package explain says in plain sentences why a claim is where it is: what holds it up, who would move it on, and what a person can do.
//
//	Gatherer.Gather ──▶ Facts ──Diagnose──▶ []Finding ──▶ Print, PrintJSON
//
// Gathering reads the API server and nothing else, with the rights of the person who asks. Each read is bounded, none lists what grows
// with the cluster's claims, and one that fails, most often for want of a permission, is a fact of its own: the rest is explained all the
// same. Diagnose is pure. It judges by the very rules of the provisioner: package datasource for sources, topology for places, and at the
// end provisioner.Decide for whatever it has no words of its own for.
//
// What the driver can do, and with which flags its Berth runs, cannot be seen from the API server. Where that would matter the benefit of
// the doubt is given: what it was told in the claim's events counts.
//
// The package is for the command line; only app may import it. It imports provisioner and what is below that. Nothing in it is for
// concurrent use.
package explain
