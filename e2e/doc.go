// Package e2e holds the whole-system tests: Berth against a real control plane and a real CSI driver, each a process of
// its own, met from outside as users meet them. They need the binaries of "make build" and "make e2e-bins", and carry the
// build tag e2e:
//
//	make test-e2e E2E_RUN=Zone
//
// Every story has a namespace of its own and runs beside the others. Most share one driver and one Berth; those that stop
// or break one have a World of their own on the same control plane. Only what breaks the control plane itself, or keeps it
// busy with hundreds of claims, runs alone, before the rest.
//
// No test sleeps. What must not happen is checked after a fence: a claim of its own that goes all the way from creation to
// deletion, so that whatever was queued before it has been looked at.
package e2e
