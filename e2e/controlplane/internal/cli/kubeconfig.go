package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	"github.com/berth-csi/berth/e2e/controlplane/internal/kubeconfig"
	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

// kubeconfigOptions are the flags of `kubeconfig`.
type kubeconfigOptions struct {
	target  target
	account string
	user    string
	groups  []string
	out     string
}

func newKubeconfig() *cobra.Command {
	var o kubeconfigOptions
	command := &cobra.Command{
		Use:   "kubeconfig --dir DIR (--service-account NS/NAME | --user NAME [--group G]...)",
		Short: "Write a kubeconfig for a service account or a user",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return o.run(command) },
	}
	o.target.addFlag(command)
	flags := command.Flags()
	flags.StringVar(&o.account, "service-account", "", "NAMESPACE/NAME; both are created if they are missing")
	flags.StringVar(&o.user, "user", "", "user name, authenticated with a client certificate")
	flags.StringArrayVar(&o.groups, "group", nil, "group of the user, repeatable")
	flags.StringVar(&o.out, "out", "", "file to write instead of standard output")
	command.MarkFlagsMutuallyExclusive("service-account", "user")
	command.MarkFlagsMutuallyExclusive("service-account", "group")
	command.MarkFlagsOneRequired("service-account", "user")
	return command
}

func (o kubeconfigOptions) run(command *cobra.Command) error {
	dir, err := o.target.directory()
	if err != nil {
		return err
	}
	cluster, err := kubeconfig.ReadCluster(dir.Kubeconfig())
	if err != nil {
		return err
	}
	user, err := o.resolve(command.Context(), dir)
	if err != nil {
		return err
	}
	encoded, err := kubeconfig.Encode(cluster, user)
	if err != nil {
		return err
	}
	if o.out != "" {
		return directory.Write(o.out, encoded, 0o600)
	}
	_, err = command.OutOrStdout().Write(encoded)
	return err
}

// resolve finds out who the kubeconfig is for and gets the credential.
func (o kubeconfigOptions) resolve(ctx context.Context, dir directory.Dir) (kubeconfig.User, error) {
	if o.account == "" {
		if o.user == "" {
			return kubeconfig.User{}, errors.New("--user is empty")
		}
		authority, err := pki.Load(pki.LayoutOf(dir).CA)
		if err != nil {
			return kubeconfig.User{}, err
		}
		pair, err := authority.Client(pki.Subject{Name: o.user, Groups: o.groups})
		return kubeconfig.User{Name: o.user, Credential: kubeconfig.Credential{Certificate: pair}}, err
	}
	account, err := kubeconfig.ParseAccount(o.account)
	if err != nil {
		return kubeconfig.User{}, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", dir.Kubeconfig())
	if err != nil {
		return kubeconfig.User{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return kubeconfig.User{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	token, err := kubeconfig.Token(ctx, client, account)
	return kubeconfig.User{
		Name:       account.Name,
		Namespace:  account.Namespace,
		Credential: kubeconfig.Credential{Token: token},
	}, err
}
