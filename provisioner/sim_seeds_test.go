//go:build !race

package provisioner

// simDefault is how many histories TestSimulate tells unless it is told otherwise: a few seconds of them.
const simDefault = 1000
