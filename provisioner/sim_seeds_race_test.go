//go:build race

package provisioner

// simDefault with the race detector, as CI has it, which may take its time.
const simDefault = 2000
