package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"
	cliflag "k8s.io/component-base/cli/flag"

	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/provisioner/journal"
)

// newJournalCommand is "berth journal": what is on record, for people.
func newJournalCommand(version string) *cobra.Command {
	var access kube.Access
	var namespace, driver string
	command := &cobra.Command{
		Use:   "journal",
		Short: "Print the volumes that are being created, or may have been, as recorded in the cluster",
		Long: `Print the journal: the volumes that a driver was, or is about to be, asked to create and that are not known to be stored
yet. In a quiet cluster it is empty, but for entries of the last minute. An entry that stays for long is of a driver that does not tell
what became of a call; whoever leads keeps asking.`,
		Example: `  berth journal --namespace kube-system
  berth journal --namespace kube-system --driver-name ebs.csi.aws.com`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" && access.Kubeconfig == "" {
				access.Kubeconfig = kubeconfig
			}
			access.UserAgent = "berth/" + version
			config, err := access.Config()
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("make a client for the API server: %w", err)
			}
			return printJournal(command.Context(), command.OutOrStdout(), client, namespace, driver)
		},
	}
	var sections cliflag.NamedFlagSets
	flags := sections.FlagSet("Journal")
	flags.StringVar(&access.Kubeconfig, "kubeconfig", "", "Path of a kubeconfig. Default: the environment variable KUBECONFIG, else the Pod's service account.")
	flags.StringVar(&access.Master, "master", "", "URL of the API server; takes the place of the kubeconfig's.")
	flags.StringVarP(&namespace, "namespace", "n", metav1.NamespaceAll, "Namespace of the journals, which is the Lease's. Default: all.")
	flags.StringVar(&driver, "driver-name", "", "Driver whose journal to print. Default: all.")
	flags.BoolP("help", "h", false, "Print this help and exit.")
	command.Flags().AddFlagSet(flags)
	setHelp(command, sections)
	return command
}

// journalTimeout bounds what the command asks of the API server.
const journalTimeout = 30 * time.Second

func printJournal(ctx context.Context, out io.Writer, client kubernetes.Interface, namespace, driver string) error {
	ctx, cancel := context.WithTimeout(ctx, journalTimeout)
	defer cancel()
	selector := journal.Label
	if driver != "" {
		selector += "=" + journalName(driver)
	}
	pages, err := client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("list journals: %w", err)
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "JOURNAL\tCLAIM\tVOLUME\tCLASS\tNODE\tSOURCE\tAGE\tSTATE")
	var problems []error
	count := 0
	states := &journalStates{client: client}
	for i := range pages.Items {
		page := &pages.Items[i]
		entries, unreadable := journal.Read(page)
		problems = append(problems, unreadable...)
		for _, entry := range entries {
			state := states.of(ctx, entry)
			source := ""
			if entry.Source.Name != "" {
				source = entry.Source.String()
			}
			fmt.Fprintf(table, "%s/%s\t%s/%s\t%s\t%s\t%s\t%s\t%s\t%s\n", page.Namespace, page.Name, entry.Claim.Namespace, entry.Claim.Name,
				entry.Request.GetName(), entry.Class, entry.SelectedNode, source, duration.HumanDuration(time.Since(entry.Began)), state)
			count++
		}
	}
	if count > 0 {
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%d on record.\n", count)
		if count > fewReads {
			fmt.Fprintf(out, "The state was looked up for the first %d only.\n", fewReads)
		}
	} else {
		fmt.Fprintln(out, "Nothing is on record.")
	}
	for _, problem := range problems {
		fmt.Fprintf(out, "Cannot be read: %s\n", strings.ReplaceAll(problem.Error(), "\n", " "))
	}
	if len(problems) > 0 {
		return errors.New("some entries cannot be read; the volumes that they were of may exist in the driver")
	}
	return nil
}

// fewReads is how many entries have their claim and volume looked up. Who wants to know of more has to narrow it down:
// thousands of reads would take longer than anybody waits.
const fewReads = 200

// journalStates tells what the API server knows about the entries' volumes and claims. It tells "?" where it cannot.
type journalStates struct {
	client kubernetes.Interface
	read   int
}

func (s *journalStates) of(ctx context.Context, entry *journal.Entry) string {
	if s.read++; s.read > fewReads {
		return "?"
	}
	pv, err := s.client.CoreV1().PersistentVolumes().Get(ctx, entry.Template.Name, metav1.GetOptions{})
	switch {
	case err == nil && pv.Spec.ClaimRef != nil && pv.Spec.ClaimRef.UID == entry.UID():
		return "stored"
	case err != nil && !apierrors.IsNotFound(err):
		return "?"
	}
	claim, err := s.client.CoreV1().PersistentVolumeClaims(entry.Claim.Namespace).Get(ctx, entry.Claim.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && claim.UID != entry.UID():
		return "claim is gone: to be found out and deleted"
	case err != nil:
		return "?"
	case claim.Status.Phase == corev1.ClaimBound:
		return "bound to " + claim.Spec.VolumeName
	}
	return "being created"
}

// journalName is the name of a driver's journal.
func journalName(driver string) string { return lead.LeaseName(driver) + "-journal" }
