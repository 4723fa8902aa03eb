package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/berth-csi/berth/capacity"
	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/topology"
)

// CapacityOptions say what the scheduler is told of the room there is.
type CapacityOptions struct {
	Enabled      bool
	Immediate    bool
	Reservations bool
	PollInterval time.Duration
	OwnerLevel   int
	Threads      int
	QPS          float32
	Burst        int
}

func newCapacityOptions() CapacityOptions {
	return CapacityOptions{Reservations: true, PollInterval: time.Minute, OwnerLevel: 1, Threads: 4}
}

// switchValue reads on and off.
type switchValue struct{ on *bool }

func (v switchValue) Type() string { return "on|off" }

func (v switchValue) String() string {
	if v.on != nil && *v.on {
		return "on"
	}
	return "off"
}

func (v switchValue) Set(s string) error {
	switch s {
	case "on", "true":
		*v.on = true
	case "off", "false":
		*v.on = false
	default:
		return fmt.Errorf("%q is neither on nor off", s)
	}
	return nil
}

// AddFlags adds the flags.
func (o *CapacityOptions) AddFlags(flags *pflag.FlagSet) {
	flags.BoolVar(&o.Enabled, "enable-capacity", o.Enabled,
		"Tell the scheduler how much room there is, with CSIStorageCapacity objects in the namespace that the environment variable NAMESPACE names (default: the Pod's).")
	flags.BoolVar(&o.Immediate, "capacity-for-immediate-binding", o.Immediate, "Have objects also for classes with Immediate binding, at which the scheduler does not look.")
	flags.Var(switchValue{&o.Reservations}, "capacity-reservations",
		"Hold back room for volumes from when their node is selected until the driver's report is sure to show them, and do not ask the driver for one that no room is left for.")
	flags.DurationVar(&o.PollInterval, "capacity-poll-interval", o.PollInterval,
		"How often the driver is asked about each segment without a reason. What changes with volumes is asked for at once.")
	flags.IntVar(&o.OwnerLevel, "capacity-ownerref-level", o.OwnerLevel,
		"Who owns the objects, seen from the Pod that the environment variable POD_NAME names. 0: the Pod; 1: its controller; 2: the controller of that, for a Deployment; -1: nobody.")
	flags.IntVar(&o.Threads, "capacity-threads", o.Threads, "Calls of GetCapacity to the driver at once.")
	flags.Float32Var(&o.QPS, "kube-api-capacity-qps", o.QPS, "Requests per second to the API server at most that are about capacity. 0: no limit of our own.")
	flags.IntVar(&o.Burst, "kube-api-capacity-burst", o.Burst, "Requests that may exceed --kube-api-capacity-qps for a moment; only with --kube-api-capacity-qps.")
}

// settle makes one of the two ways to ask for it.
func (o *CapacityOptions) settle(components *ComponentOptions) {
	if o.Enabled && !components.has(componentCapacity) {
		components.Components = append(components.Components, componentCapacity)
	}
	o.Enabled = components.has(componentCapacity)
}

// Validate checks the values.
func (o *CapacityOptions) Validate() error {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if o.PollInterval <= 0 {
		add("--capacity-poll-interval must be positive, not %s", o.PollInterval)
	}
	if o.OwnerLevel < -1 || o.OwnerLevel > 2 {
		add("--capacity-ownerref-level must be -1, 0, 1 or 2, not %d", o.OwnerLevel)
	}
	if o.Threads < 1 {
		add("--capacity-threads must be at least 1, not %d", o.Threads)
	}
	switch {
	case o.QPS < 0:
		add("--kube-api-capacity-qps must not be negative (0 means no limit), not %v", o.QPS)
	case o.Burst < 0:
		add("--kube-api-capacity-burst must not be negative, not %d", o.Burst)
	case o.QPS > 0 && o.Burst == 0:
		o.Burst = max(1, int(2*o.QPS))
	}
	if o.Enabled && o.OwnerLevel >= 0 && os.Getenv("POD_NAME") == "" {
		add("capacity needs the environment variable POD_NAME to find who owns the objects (from the field metadata.name of the Pod); or give --capacity-ownerref-level=-1 for nobody")
	}
	return errors.Join(problems...)
}

// capacityParts are what a capacity controller is made of beside the rest of the process.
type capacityParts struct {
	Calls    *csi.Controller
	Driver   csi.Driver
	Node     string          // in distributed mode; empty: all
	Places   *topology.Index // nil without topology
	Informer informers.SharedInformerFactory
}

// newCapacity makes a client of its own, so that publishing does not hold up volumes, and returns what makes the controller; nil if it is off.
func newCapacity(o *Options, shared *rest.Config) (func(context.Context, *process, capacityParts) (*capacity.Controller, error), error) {
	if !o.Capacity.Enabled {
		return nil, nil
	}
	own := rest.CopyConfig(shared)
	own.QPS, own.Burst = o.Capacity.QPS, o.Capacity.Burst
	if own.QPS == 0 {
		own.QPS = -1 // client-go's word for "no limit"
	}
	client, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("make a client for storage capacities: %w", err)
	}
	namespace := os.Getenv("NAMESPACE")
	if namespace == "" {
		namespace = podNamespace()
	}
	return func(ctx context.Context, p *process, parts capacityParts) (*capacity.Controller, error) {
		if !parts.Driver.Capacity {
			klog.FromContext(ctx).Info("No capacity is published: the driver does not tell how much room there is (controller capability GET_CAPACITY)", "driver", parts.Driver.Name)
			return nil, nil
		}
		objects, err := capacity.NewObjects(client, namespace)
		if err != nil {
			klog.FromContext(ctx).Info("No capacity is published", "reason", err.Error())
			return nil, nil
		}
		config := capacity.Config{
			Driver: parts.Driver.Name, Capacities: parts.Calls, Objects: objects, Namespace: namespace,
			Classes: parts.Informer.Storage().V1().StorageClasses().Informer(), Places: parts.Places,
			Parameters: provisioner.DriverParameters, Registry: p.registry,
			Immediate: o.Capacity.Immediate, Reservations: o.Capacity.Reservations,
			PollInterval: o.Capacity.PollInterval, Threads: o.Capacity.Threads, CallTimeout: p.config.DriverTimeout,
			BackoffStart: o.Provisioning.BackoffStart, BackoffMax: o.Provisioning.BackoffMax, Grace: o.Provisioning.Grace,
		}
		if parts.Node != "" {
			config.Manager = capacity.NodeManager(parts.Node)
		}
		if o.Capacity.OwnerLevel >= 0 {
			owner := capacity.OwnerLookup{Client: client, Namespace: namespace, Pod: os.Getenv("POD_NAME"), Level: o.Capacity.OwnerLevel}
			config.Owner = func(ctx context.Context) (*metav1.OwnerReference, error) { return owner.Find(ctx) }
		}
		return capacity.New(config)
	}, nil
}

// capacity makes the controller that publishes capacity, or nil.
func (p *process) capacity(ctx context.Context, parts capacityParts) (*capacity.Controller, error) {
	if p.config.Capacity == nil {
		return nil, nil
	}
	return p.config.Capacity(ctx, p, parts)
}
