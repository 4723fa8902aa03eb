package command

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/driver/internal/fault"
)

func newFaults() *cobra.Command {
	a := &ask{}
	var wipe bool
	c := &cobra.Command{Use: "faults", Short: "List the scripted faults, or clear them", RunE: func(c *cobra.Command, _ []string) error {
		method := "GET"
		if wipe {
			method = "DELETE"
		}
		raw, err := a.do(c, method, "/faults", nil)
		if err != nil || (wipe && !a.json) {
			return err
		}
		return show(a, c.OutOrStdout(), raw, "METHOD ACTION CODE MATCH LATENCY JITTER PROBABILITY AFTER TIMES SEEN USED", faultRow)
	}}
	a.flags(c)
	c.Flags().BoolVar(&wipe, "clear", false, "remove all faults")
	return c
}

func faultRow(u fault.Usage) []string {
	text := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	probability, times := "1", "always"
	if u.Probability > 0 {
		probability = strconv.FormatFloat(u.Probability, 'g', -1, 64)
	}
	if u.Times > 0 {
		times = number(u.Times)
	}
	action := string(u.Action)
	if u.Action == fault.OnlyLatency {
		action = "(latency)"
	}
	return []string{u.Method, action, text(u.Code), text(u.Match), text(u.Latency), text(u.Jitter), probability, number(u.After), times, number(u.Seen), number(u.Used)}
}

func newFault() *cobra.Command {
	a := &ask{}
	var f fault.Fault
	var action string
	c := &cobra.Command{Use: "fault", Short: "Add one fault", RunE: func(c *cobra.Command, _ []string) error {
		f.Action = fault.Action(action)
		raw, err := a.do(c, "POST", "/faults", f)
		if err != nil || !a.json {
			return err
		}
		_, err = c.OutOrStdout().Write(raw)
		return err
	}}
	a.flags(c)
	flags := c.Flags()
	flags.StringVar(&f.Method, "method", "", "the RPC's short name, * for all")
	flags.StringVar(&f.Match, "match", "", "regular expression on the call's name, volume, snapshot or source id")
	flags.StringVar(&action, "action", "", "what to do beside waiting: "+strings.Join(fault.Actions(), ", "))
	flags.StringVar(&f.Code, "code", "", "gRPC code for error and lost (default Unavailable)")
	flags.StringVar(&f.Message, "message", "", "message that goes with the code")
	flags.StringVar(&f.Latency, "latency", "", "how long to wait first, such as 50ms")
	flags.StringVar(&f.Jitter, "jitter", "", "up to how much longer, at random")
	flags.Float64Var(&f.Probability, "probability", 0, "how likely, above 0 up to 1 (default always)")
	flags.Int64Var(&f.Times, "times", 0, "how often (default for ever)")
	flags.Int64Var(&f.After, "after", 0, "how many calls to spare first")
	return c
}
