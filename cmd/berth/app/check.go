package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	volumehelpers "k8s.io/component-helpers/storage/volume"

	"github.com/berth-csi/berth/internal/kube"
)

// question is what "berth check" asks.
type question struct {
	driver    string
	class     string
	namespace string
	patience  time.Duration
}

func (q question) validate() error {
	var problems []error
	if q.driver == "" {
		problems = append(problems, errors.New("--driver-name is required"))
	}
	if q.class == "" {
		problems = append(problems, errors.New("--storage-class is required"))
	}
	if q.patience <= 0 {
		problems = append(problems, fmt.Errorf("--timeout must be positive, not %s", q.patience))
	}
	return errors.Join(problems...)
}

// newCheckCommand is "berth check": whether the webhooks work, for people and for helm test.
func newCheckCommand(version string) *cobra.Command {
	var access kube.Access
	q := question{namespace: metav1.NamespaceDefault, patience: 2 * time.Minute}
	command := &cobra.Command{
		Use:   "check",
		Short: "Ask the API server for a claim, without creating one, and see whether it was reviewed",
		Long: `Ask the API server for a claim of a storage class in a dry run: nothing is created. It comes back with the driver's name on it if
the API server trusts the webhook's certificate and reaches it, and the webhook knows the class. Right after an installation that takes a moment;
it is asked for again until --timeout has passed.`,
		Example:       `  berth check --driver-name pool.csi.example.com --storage-class pool --namespace default`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := q.validate(); err != nil {
				return fmt.Errorf("%w (%w)", err, errUsage)
			}
			if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" && access.Kubeconfig == "" {
				access.Kubeconfig = kubeconfig
			}
			access.UserAgent = "berth-check/" + version
			config, err := access.Config()
			if err != nil {
				return err
			}
			// The API server says by warnings what it thinks of a claim; they are part of the answer.
			config.WarningHandler = rest.NewWarningWriter(command.OutOrStdout(), rest.WarningWriterOptions{Deduplicate: true})
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("make a client for the API server: %w", err)
			}
			return check(command.Context(), command.OutOrStdout(), client, q)
		},
	}
	var sections cliflag.NamedFlagSets
	flags := sections.FlagSet("Check")
	flags.StringVar(&q.driver, "driver-name", "", "Driver whose webhook is asked.")
	flags.StringVar(&q.class, "storage-class", "", "Storage class of the claim.")
	flags.StringVarP(&q.namespace, "namespace", "n", q.namespace, "Namespace of the claim. Webhooks leave their own namespace alone.")
	flags.DurationVar(&q.patience, "timeout", q.patience, "How long to ask.")
	flags.StringVar(&access.Kubeconfig, "kubeconfig", "", "Path of a kubeconfig. Default: the environment variable KUBECONFIG, else the Pod's service account.")
	flags.StringVar(&access.Master, "master", "", "URL of the API server; takes the place of the kubeconfig's.")
	flags.BoolP("help", "h", false, "Print this help and exit.")
	command.Flags().AddFlagSet(flags)
	setHelp(command, sections)
	return command
}

// checkPause is the wait between two questions.
const checkPause = 2 * time.Second

// check asks until the answer is as it should be, or patience is at an end.
func check(ctx context.Context, out io.Writer, client kubernetes.Interface, q question) error {
	ctx, cancel := context.WithTimeout(ctx, q.patience)
	defer cancel()
	ticker := time.NewTicker(checkPause)
	defer ticker.Stop()
	var last error
	for {
		claim, err := client.CoreV1().PersistentVolumeClaims(q.namespace).Create(ctx, q.claim(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			err = q.judge(claim)
		}
		if err == nil {
			fmt.Fprintf(out, "A claim of storage class %q would be given to %s by the webhook. Nothing was created.\n", q.class, q.driver)
			return nil
		}
		if ctx.Err() == nil { // else it says no more than that time is up
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ask for a claim in namespace %s: %w", q.namespace, errors.Join(last, context.Cause(ctx)))
		case <-ticker.C:
		}
	}
}

func (q question) claim() *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "berth-check-", Namespace: q.namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &q.class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

// judge says what is wrong with the claim that came back. In a dry run the controller-manager sees nothing, so whose name is on it was put there
// by a webhook.
func (q question) judge(claim *corev1.PersistentVolumeClaim) error {
	switch got := claim.Annotations[volumehelpers.AnnStorageProvisioner]; got {
	case q.driver:
		return nil
	case "":
		return fmt.Errorf("nobody reviewed it: is storage class %q one of %s, and does the webhook's configuration carry a caBundle and match the namespace?", q.class, q.driver)
	default:
		return fmt.Errorf("it would be given to %s, not to %s", got, q.driver)
	}
}
