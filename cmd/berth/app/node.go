package app

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/topology"
)

// NodeOptions say whether there is one process on each node, and how claims are shared out then.
type NodeOptions struct {
	Enabled   bool
	Immediate bool
	BaseDelay time.Duration
	MaxDelay  time.Duration
}

func newNodeOptions() NodeOptions {
	return NodeOptions{Immediate: true, BaseDelay: 20 * time.Second, MaxDelay: time.Minute}
}

// AddFlags adds the flags.
func (o *NodeOptions) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Enabled, "node-deployment", o.Enabled, "One process on each node, beside the driver's instance there, for storage that is local to nodes. Needs the environment variable NODE_NAME.")
	flags.BoolVar(&o.Immediate, "node-deployment-immediate-binding", o.Immediate, "With --node-deployment, have the nodes take claims with Immediate binding, each after a random time and if it has room. false: only claims that somebody selects a node for.")
	flags.DurationVar(&o.BaseDelay, "node-deployment-base-delay", o.BaseDelay, "How long a node waits at most before it first tries to take a claim with Immediate binding; chance takes off up to all of it.")
	flags.DurationVar(&o.MaxDelay, "node-deployment-max-delay", o.MaxDelay, "The longest wait between two tries; it doubles with each.")
}

// nodeName is the node that this process is on, from the Pod's field spec.nodeName.
func nodeName() string { return os.Getenv("NODE_NAME") }

// Validate checks the values.
func (o *NodeOptions) Validate() error {
	if !o.Enabled {
		return nil
	}
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if nodeName() == "" {
		add("--node-deployment needs the environment variable NODE_NAME to know its node (from the field spec.nodeName of the Pod)")
	}
	if o.BaseDelay <= 0 {
		add("--node-deployment-base-delay must be positive, not %s", o.BaseDelay)
	}
	if o.MaxDelay < o.BaseDelay {
		add("--node-deployment-max-delay (%s) must not be less than --node-deployment-base-delay (%s)", o.MaxDelay, o.BaseDelay)
	}
	return errors.Join(problems...)
}

// validateNode checks what distributed mode has to do with the other flags.
func (o *Options) validateNode() error {
	if !o.Node.Enabled {
		return nil
	}
	problems := []error{o.Node.Validate()}
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.Components.has(componentWebhook) {
		add("--components: %s does not go with --node-deployment: API servers need few webhooks and not one on each node; run it in a Deployment of its own, with --components=%s and --driver-name", componentWebhook, componentWebhook)
	}
	if o.Leader.Enabled {
		add("--leader-election does not go with --node-deployment: the Lease is the driver's, so that only one node would make volumes; each node's process is the only one for its node")
	}
	if !o.Features.enabled(gateTopology) {
		add("--feature-gates=Topology=false does not go with --node-deployment: volumes of a node are told from those of others by their topology")
	}
	return errors.Join(problems...)
}

// notice tells about flags that have no effect with these.
func (o *NodeOptions) notice(provisioning *ProvisioningOptions) {
	if !o.Enabled {
		return
	}
	if provisioning.TopologyLimit > 0 || !provisioning.ImmediateTopology {
		klog.Background().Info("With --node-deployment a request always names the node's segment alone: --topology-limit and --immediate-topology have no effect")
	}
}

// node is the provisioner's, of what the driver says.
func (o *NodeOptions) node(found csi.Node) provisioner.Node {
	if !o.Enabled {
		return provisioner.Node{}
	}
	return provisioner.Node{
		Name: nodeName(), Segment: found.Segment, Immediate: o.Immediate, BaseDelay: o.BaseDelay, MaxDelay: o.MaxDelay,
	}
}

// localTopology is an index of the one node that this process is for. Nothing is watched for it.
func localTopology(node provisioner.Node) *topology.Index {
	index := topology.NewIndex()
	labels := node.Segment.Map()
	keys := make([]string, 0, len(labels))
	for key := range labels {
		keys = append(keys, key)
	}
	index.SetNode(node.Name, labels)
	index.SetRegistration(node.Name, topology.NewKeySet(keys))
	return index
}

// maxJournalName leaves room in the name of a ConfigMap, 253 characters, for what is added to a journal's.
const maxJournalName = 230

// nodeJournalName is the name of the journal of a driver's instance on a node.
func nodeJournalName(driver, node string) string {
	name := journalName(driver) + "-" + node
	if len(name) <= maxJournalName {
		return name
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return fmt.Sprintf("%s-%016x", name[:maxJournalName-17], h.Sum64())
}

// nodeOwner is the node's object, as the owner of its journal. That is a nicety: a role that does not allow to read nodes is no reason not to work.
func (p *process) nodeOwner(ctx context.Context, node string) *metav1.OwnerReference {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	object, err := p.config.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		klog.FromContext(ctx).Info("The journal of this node will be left over when the node is taken away; grant get on nodes to have it go with the node", "node", node, "err", err)
		return nil
	}
	return &metav1.OwnerReference{APIVersion: corev1.SchemeGroupVersion.String(), Kind: "Node", Name: object.Name, UID: object.UID}
}

// nodeTimeout bounds the read of the node's object.
const nodeTimeout = 10 * time.Second
