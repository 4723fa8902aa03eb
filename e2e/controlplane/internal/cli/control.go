package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
)

func newStatus() *cobra.Command {
	var t target
	var asJSON bool
	command := &cobra.Command{
		Use:   "status --dir DIR",
		Short: "Show each component: state, pid, restarts, CPU and memory, log",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			statuses, err := client.Status(command.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(command.OutOrStdout(), statuses)
			}
			return writeStatuses(command.OutOrStdout(), statuses)
		},
	}
	t.addFlag(command)
	command.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return command
}

func newKill() *cobra.Command {
	var t target
	request := control.Kill{}
	command := &cobra.Command{
		Use:   "kill --dir DIR COMPONENT",
		Short: "End a component and leave it down, or freeze (STOP) and thaw (CONT) it",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			if request.Component, err = component.Parse(args[0]); err != nil {
				return err
			}
			request.Signal = signalName(request.Signal)
			return client.Kill(command.Context(), request)
		},
	}
	t.addFlag(command)
	command.Flags().StringVar(&request.Signal, "signal", "KILL", "KILL, TERM, INT, STOP or CONT")
	return command
}

func newStart() *cobra.Command {
	var t target
	var sets []string
	command := &cobra.Command{
		Use:   "start --dir DIR COMPONENT",
		Short: "Start a component that is down and wait until it is healthy",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			request := control.Start{}
			if request.Component, err = component.Parse(args[0]); err != nil {
				return err
			}
			if request.Set, err = component.ParseFlags(sets); err != nil {
				return err
			}
			return client.Start(command.Context(), request)
		},
	}
	t.addFlag(command)
	addSetFlag(command, &sets)
	return command
}

func newRestart() *cobra.Command {
	var t target
	var sets []string
	request := control.Restart{}
	command := &cobra.Command{
		Use:   "restart --dir DIR COMPONENT",
		Short: "End a component, start it, and wait until it is healthy",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			if request.Component, err = component.Parse(args[0]); err != nil {
				return err
			}
			if request.Set, err = component.ParseFlags(sets); err != nil {
				return err
			}
			request.Signal = signalName(request.Signal)
			return client.Restart(command.Context(), request)
		},
	}
	t.addFlag(command)
	addSetFlag(command, &sets)
	command.Flags().StringVar(&request.Signal, "signal", "TERM", "KILL, TERM or INT")
	return command
}

func newLimits() *cobra.Command {
	var t target
	var stock bool
	request := control.Limits{}
	command := &cobra.Command{
		Use:   "limits --dir DIR (--qps F --burst N | --stock)",
		Short: "Change the controller-manager's client limits; restarts it",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			if given := request != (control.Limits{}); given == stock {
				return errors.New("give --qps and --burst, or --stock")
			}
			return client.SetLimits(command.Context(), request)
		},
	}
	t.addFlag(command)
	command.Flags().Float64Var(&request.QPS, "qps", 0, "requests a second")
	command.Flags().IntVar(&request.Burst, "burst", 0, "requests at once")
	command.Flags().BoolVar(&stock, "stock", false, "go back to Kubernetes' own limits, 20 and 30")
	return command
}

func addSetFlag(command *cobra.Command, sets *[]string) {
	command.Flags().StringArrayVar(sets, "set", nil, "FLAG=VALUE, repeatable: changes or adds a flag of the component, and lasts")
}

// signalName accepts "kill" and "SIGKILL" as well.
func signalName(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "SIG") }

func writeStatuses(out io.Writer, statuses []control.Status) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tSTATE\tPID\tRESTARTS\tCPU\tMEMORY\tLOG")
	for _, s := range statuses {
		pid := "-"
		if s.PID != 0 {
			pid = fmt.Sprint(s.PID)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%.1f s\t%d MB\t%s\n",
			s.Component, s.State, pid, s.Restarts, s.CPUSeconds, s.ResidentBytes/1e6, s.Log)
	}
	return table.Flush()
}

func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
