// Package stock runs the components as their projects ship them: their own commands with their own flags, nothing
// replaced. It is the only package that imports them, and a process runs one component and once: their commands
// install signal handlers and fill process-wide registries.
package stock

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the client metrics of every component
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
)

// ErrOrphaned says that the process which started the component is gone.
var ErrOrphaned = errors.New("the supervising process has ended")

// Run runs the component until it ends, or until lifeline does: the other end is held open by the supervising
// process, so reading it ends however that process does. The caller must then end the process, for components cannot
// be stopped from within.
//
// Components end on SIGTERM and SIGINT by themselves; some of them end the process then.
func Run(name component.Name, args []string, lifeline io.Reader) error {
	ended := make(chan error, 2)
	go func() { ended <- run(name, args) }()
	go func() {
		_, err := io.Copy(io.Discard, lifeline)
		ended <- errors.Join(ErrOrphaned, err) // a lifeline that cannot be read protects from nothing
	}()
	return <-ended
}

func run(name component.Name, args []string) error {
	var command *cobra.Command
	switch name {
	case component.Etcd:
		etcdmain.Main(append([]string{string(name)}, args...))
		return nil
	case component.APIServer:
		command = apiserver.NewAPIServerCommand()
	case component.ControllerManager:
		command = controllermanager.NewControllerManagerCommand()
	case component.Scheduler:
		command = scheduler.NewSchedulerCommand()
	case component.Kubelet:
		command = kubelet.NewKubeletCommand(context.Background())
	default:
		return fmt.Errorf("no such component: %q", name)
	}
	command.SetArgs(args)
	command.SilenceUsage = true // several screens, after which nobody finds the error
	return cli.RunNoErrOutput(command)
}
