// Package simtest is an API server and a CSI driver in memory, for tests that decide what becomes of each call: whether it arrives,
// whether it is done, and whether anybody hears of it.
//
// Neither is kinder than the real thing. The Server keeps resource versions and refuses a write that names an old one; it takes UIDs as
// preconditions, keeps an object with finalizers until the last one is gone, lets nobody add one to an object that is being deleted, and changes
// the status of an object only through its subresource; a claim's volume is named once. The Driver creates by name, as the CSI specification wants it, and no better than that.
//
// What a client does arrives as a Call at the client's Gate, which does it (or not) and answers. Nobody is told of anything: whoever keeps a
// cache reads the Server's Log, at any pace.
//
// It imports nothing of this project. Server and Driver are safe for concurrent use, but who wants a test to come out the same each time lets one
// goroutine at a time do calls.
package simtest
