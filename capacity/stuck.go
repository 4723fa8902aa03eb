package capacity

import "time"

// callLimits are how many requests to the API server, each with apiTimeout, one piece of work makes at most, with much to spare.
const callLimits = 20

// askLimit is how long a question to the driver may take with all waiting for its turn: every thread may have to wait for all others.
func askLimit(threads int, call time.Duration) time.Duration {
	if call <= 0 {
		return 0
	}
	return callLimits*apiTimeout + time.Duration(threads+1)*call
}

// Stuck is an error if a piece of work hangs in this process, which nothing but a restart mends. That nobody answers does not count: each call has
// a limit.
func (c *Controller) Stuck() error {
	if err := c.asking.Stuck(); err != nil {
		return err
	}
	return c.publishing.Stuck()
}
