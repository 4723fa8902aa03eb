package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	snapshotclientset "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
	gatewayclientset "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/internal/explain"
)

// explainOptions are what was typed after "berth explain".
type explainOptions struct {
	kubeconfig      string
	overrides       clientcmd.ConfigOverrides
	driverNamespace string
	output          string
}

// newExplainCommand is "berth explain": why a claim is where it is. It runs with the rights and the habits of a person who uses kubectl.
func newExplainCommand(version, program string) *cobra.Command {
	var options explainOptions
	command := &cobra.Command{
		Use:   "explain pvc NAMESPACE/NAME | explain pvc NAME [-n NAMESPACE]",
		Short: "Say why a claim is Pending, and what to do",
		Long: `Say in plain sentences why a PersistentVolumeClaim is where it is: its class, who provisions for its driver and whether that runs,
the place that the scheduler chose and the room there, what it is made from, what went wrong last, and what to do. Nothing is changed.

It reads the cluster with your own rights. What you may not read is named, and the rest is explained all the same.

A line begins with ! for a problem, ~ for a warning, > for what is waited for, and ? for what could not be looked at.
The exit code is 0 if the claim was explained, and 1 if it does not exist or the cluster could not be read.`,
		Example: "  " + program + " explain pvc shop/data\n  " + program + " explain pvc data -n shop -o json",
		Args: func(_ *cobra.Command, args []string) error {
			_, _, err := claimArgument(args, "")
			return err
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, args []string) error {
			if options.output != "text" && options.output != "json" {
				return fmt.Errorf("--output must be text or json, not %q", options.output)
			}
			gatherer, defaultNamespace, err := options.complete(version)
			if err != nil {
				return err
			}
			namespace, name, err := claimArgument(args, options.overrides.Context.Namespace)
			if err != nil {
				return err
			}
			if namespace == "" {
				namespace = defaultNamespace
			}
			return printExplanation(command.Context(), command.OutOrStdout(), gatherer, explanation{namespace, name, options.output})
		},
	}
	var sections cliflag.NamedFlagSets
	flags := sections.FlagSet("Explain")
	flags.StringVarP(&options.overrides.Context.Namespace, "namespace", "n", "", "Namespace of the claim. Default: that of the kubeconfig's context.")
	flags.StringVarP(&options.output, "output", "o", "text", "text, or json: a list of {severity, about, text, do}, the verdict first.")
	flags.StringVar(&options.driverNamespace, "driver-namespace", "",
		"Namespace of the driver's Lease, journal and capacity. Default: all are looked at, which takes the right to list them everywhere.")
	access := sections.FlagSet("Kubernetes")
	access.StringVar(&options.kubeconfig, "kubeconfig", "", "Path of a kubeconfig. Default: as kubectl finds it, or the Pod's service account.")
	access.StringVar(&options.overrides.CurrentContext, "context", "", "Context of the kubeconfig to use.")
	access.StringVar(&options.overrides.Context.Cluster, "cluster", "", "Cluster of the kubeconfig to use.")
	access.StringVar(&options.overrides.Context.AuthInfo, "user", "", "User of the kubeconfig to use.")
	access.StringVar(&options.overrides.AuthInfo.Impersonate, "as", "", "User to impersonate.")
	access.StringArrayVar(&options.overrides.AuthInfo.ImpersonateGroups, "as-group", nil, "Group to impersonate; may be given several times.")
	flags.BoolP("help", "h", false, "Print this help and exit.")
	command.Flags().AddFlagSet(flags)
	command.Flags().AddFlagSet(access)
	setHelp(command, sections)
	return command
}

// claimArgument reads what was typed: "pvc NS/NAME", "pvc NAME", and what kubectl users type without thinking, "pvc/NAME".
func claimArgument(args []string, flag string) (namespace, name string, err error) {
	usage := fmt.Errorf("say which claim to explain, as in \"explain pvc NAMESPACE/NAME\" or \"explain pvc NAME -n NAMESPACE\" (%w)", errUsage)
	switch {
	case len(args) == 0 || len(args) > 2:
		return "", "", usage
	case len(args) == 1:
		kind, rest, ok := strings.Cut(args[0], "/")
		if !ok || !isClaimKind(kind) {
			return "", "", usage
		}
		name = rest
	case !isClaimKind(args[0]):
		return "", "", fmt.Errorf("cannot explain %q, only pvc (%w)", args[0], errUsage)
	default:
		name = args[1]
	}
	if before, after, ok := strings.Cut(name, "/"); ok {
		namespace, name = before, after
		if namespace == "" || strings.Contains(name, "/") {
			return "", "", usage
		}
		if flag != "" && flag != namespace {
			return "", "", fmt.Errorf("the claim's namespace is given twice: %q and --namespace %q", namespace, flag)
		}
	}
	if name == "" {
		return "", "", usage
	}
	if namespace == "" {
		namespace = flag
	}
	return namespace, name, nil
}

func isClaimKind(word string) bool {
	switch strings.ToLower(word) {
	case "pvc", "pvcs", "persistentvolumeclaim", "persistentvolumeclaims", "claim":
		return true
	}
	return false
}

// complete connects as kubectl does: the flag, else $KUBECONFIG, which may be several files, else ~/.kube/config, else the Pod's account.
func (o *explainOptions) complete(version string) (*explain.Gatherer, string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &o.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		if clientcmd.IsEmptyConfig(err) {
			return nil, "", errors.New("no kubeconfig was found (--kubeconfig, $KUBECONFIG, ~/.kube/config), and not running in a Pod")
		}
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("kubeconfig: %w", err)
	}
	config.UserAgent = "berth-explain/" + version
	config.QPS = -1 // about twenty requests, and done
	gatherer, err := newGatherer(config)
	if err != nil {
		return nil, "", fmt.Errorf("make a client for the API server: %w", err)
	}
	gatherer.DriverNamespace = o.driverNamespace
	return gatherer, namespace, nil
}

// newGatherer makes the clients: protobuf for what is built in, JSON for what custom resource definitions add.
func newGatherer(config *rest.Config) (*explain.Gatherer, error) {
	gatherer := &explain.Gatherer{Now: time.Now}
	snapshots, err := snapshotclientset.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	grants, err := gatewayclientset.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	gatherer.Snapshots, gatherer.Grants = snapshots, grants
	if gatherer.Metadata, err = metadata.NewForConfig(config); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	gatherer.Client, err = kubernetes.NewForConfig(config)
	return gatherer, err
}

// explainTimeout bounds all reads together.
const explainTimeout = 45 * time.Second

// explanation is what is wanted.
type explanation struct{ namespace, name, output string }

// printExplanation reads, decides and writes. The explanation of a claim that does not exist is written, too, and is an error all the same.
func printExplanation(ctx context.Context, out io.Writer, gatherer *explain.Gatherer, wanted explanation) error {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	facts, err := gatherer.Gather(ctx, wanted.namespace, wanted.name)
	if err != nil {
		return err
	}
	findings := explain.Diagnose(facts)
	write := explain.Print
	if wanted.output == "json" {
		write = explain.PrintJSON
	}
	if err := write(out, findings); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	if facts.Claim == nil {
		return fmt.Errorf("claim %s/%s does not exist", wanted.namespace, wanted.name)
	}
	return nil
}

// programName is what people type: kubectl finds a plugin by the name of its file.
func programName(path string) string {
	name := filepath.Base(path)
	if plugin, ok := strings.CutPrefix(name, "kubectl-"); ok {
		return "kubectl " + strings.TrimSuffix(plugin, ".exe")
	}
	return "berth"
}
