package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	snapshotclient "github.com/kubernetes-csi/external-snapshotter/client/v8/clientset/versioned"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/berth-csi/berth/capacity"
	"github.com/berth-csi/berth/certs"
	"github.com/berth-csi/berth/csi"
	"github.com/berth-csi/berth/internal/diagnostics"
	"github.com/berth-csi/berth/internal/kube"
	"github.com/berth-csi/berth/internal/lead"
	"github.com/berth-csi/berth/internal/serving"
	"github.com/berth-csi/berth/internal/tracing"
	"github.com/berth-csi/berth/provisioner"
	"github.com/berth-csi/berth/webhook"
)

// Config is everything that Run needs, checked.
type Config struct {
	Version        string
	Client         kubernetes.Interface
	DriverAddress  string
	DriverTimeout  time.Duration
	StartupTimeout time.Duration // 0: no limit
	Diagnostics    diagnostics.Config
	Tracer         *tracing.Tracer // nil: nothing is traced
	Election       *lead.Config    // nil: no election
	DriverName     string          // empty: what the driver says
	NodeName       string          // in distributed mode; empty: one process is for the whole cluster

	Admission    *AdmissionConfig // nil: it is not served
	Provisioning bool             // false: there is no driver
	// Provisioner makes the controller's configuration, once it is known who the driver is and what the API server has.
	Provisioner func(driver csi.Driver, node csi.Node, attributesServed bool) provisioner.Config
	// Capacity makes the controller that publishes capacity, or nil if the driver or the API server cannot do that; nil: it is off.
	Capacity func(context.Context, *process, capacityParts) (*capacity.Controller, error)
}

func newConfig(o *Options, version string) (*Config, error) {
	access := kube.Access{
		Kubeconfig: o.Kube.Kubeconfig, Master: o.Kube.Master, QPS: o.Kube.QPS, Burst: o.Kube.Burst,
		UserAgent: "berth/" + version,
	}
	restConfig, err := access.Config()
	if err != nil {
		return nil, err
	}
	var clock *certs.ServerClock
	if o.Components.has(componentWebhook) {
		clock = &certs.ServerClock{}
		restConfig.Wrap(clock.Wrap)
	}
	tracer, err := o.Diagnostics.tracer(version)
	if err != nil {
		return nil, err
	}
	if tracer != nil {
		restConfig.Wrap(tracer.Transport)
	}
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	config := &Config{
		DriverName:     o.Components.DriverName,
		Provisioning:   o.Components.has(componentProvisioner),
		Version:        version,
		Client:         client,
		DriverAddress:  o.Driver.Address,
		DriverTimeout:  o.Driver.Timeout,
		StartupTimeout: o.Driver.StartupTimeout,
		Tracer:         tracer,
	}
	if o.Node.Enabled {
		config.NodeName = nodeName()
	}
	if config.Diagnostics, err = newDiagnostics(o, client, version); err != nil {
		return nil, err
	}
	optional, err := newOptionalClients(restConfig)
	if err != nil {
		return nil, err
	}
	config.Provisioner = newProvisioner(o, client, optional, tracer)
	if config.Capacity, err = newCapacity(o, restConfig); err != nil {
		return nil, err
	}
	if o.Components.has(componentWebhook) {
		if config.Admission, err = newAdmissionConfig(o, client, optional, clock); err != nil {
			return nil, err
		}
		config.Admission.Tracer = tracer
	}
	if o.Leader.Enabled {
		if config.Election, err = newElection(&o.Leader, restConfig); err != nil {
			return nil, err
		}
	}
	return config, nil
}

// optionalClients are those of APIs that a cluster may lack.
type optionalClients struct {
	snapshots snapshotclient.Interface
	grants    gatewayclient.Interface
}

// newOptionalClients makes the clients of the optional APIs. They speak JSON, as custom resources do.
func newOptionalClients(shared *rest.Config) (optionalClients, error) {
	custom := rest.CopyConfig(shared)
	custom.ContentType, custom.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	snapshots, err := snapshotclient.NewForConfig(custom)
	if err != nil {
		return optionalClients{}, fmt.Errorf("make a client for snapshots: %w", err)
	}
	grants, err := gatewayclient.NewForConfig(custom)
	if err != nil {
		return optionalClients{}, fmt.Errorf("make a client for reference grants: %w", err)
	}
	return optionalClients{snapshots, grants}, nil
}

func newProvisioner(o *Options, client kubernetes.Interface, optional optionalClients, tracer *tracing.Tracer,
) func(csi.Driver, csi.Node, bool) provisioner.Config {
	features := &o.Features
	return func(driver csi.Driver, found csi.Node, attributesServed bool) provisioner.Config {
		driver.Topology = driver.Topology && features.enabled(gateTopology)
		node := o.Node.node(found)
		config := provisioner.Config{
			Settings:      o.Provisioning.settings(driver, identity(node.Identity(driver.Name))),
			Client:        client,
			Workers:       o.Provisioning.Workers,
			BackoffStart:  o.Provisioning.BackoffStart,
			BackoffMax:    o.Provisioning.BackoffMax,
			Grace:         o.Provisioning.Grace,
			SourceWorkers: o.Provisioning.SourceWorkers,
			SweepInterval: o.Provisioning.SweepInterval,
			CallTimeout:   o.Driver.Timeout,
			Tracer:        tracer,
			Snapshots:     optional.snapshots,

			ExpressBinding: o.Provisioning.ExpressBinding == expressAuto,
		}
		config.Settings.AttributesClasses = features.enabled(gateAttributes) && (attributesServed || features.explicit(gateAttributes))
		config.Settings.Node = node
		config.JournalNamespace, config.JournalLabel = o.Leader.namespace(), journalName(driver.Name)
		journal := config.JournalLabel
		if !node.IsZero() {
			journal = nodeJournalName(driver.Name, node.Name)
		}
		if o.Provisioning.Journal {
			config.JournalName = journal
		} else {
			config.LeftJournal = journal
		}
		config.Settings.CrossNamespace = features.enabled(gateCrossNamespace)
		if config.Settings.CrossNamespace {
			config.Grants = optional.grants
		}
		return config
	}
}

// newAdmissionConfig prepares what does not depend on the driver.
func newAdmissionConfig(o *Options, client kubernetes.Interface, optional optionalClients, clock *certs.ServerClock) (*AdmissionConfig, error) {
	version, err := o.Admission.minVersion()
	if err != nil {
		return nil, err
	}
	suites, err := cliflag.TLSCipherSuites(o.Admission.CipherSuites)
	if err != nil {
		return nil, fmt.Errorf("--admission-tls-cipher-suites: %w", err)
	}
	config := &AdmissionConfig{
		Serving: serving.Config{
			Address: o.Admission.Address, MinVersion: version, CipherSuites: suites, Drain: o.Admission.Drain,
			ClientCAFile: o.Admission.ClientCAFile, ClientNames: o.Admission.ClientNames,
		},
		Webhook: webhook.Config{
			CrossNamespace:        o.Features.enabled(gateCrossNamespace),
			PreventModeConversion: o.Provisioning.PreventModeConversion,
			RequireSourceMode:     o.Admission.RequireSourceMode,
			TrustedSnapshotUsers:  o.Admission.TrustedUsers,
		},
		Topology:     o.Admission.Topology,
		Enabled:      o.Features.enabled(gateTopology),
		Client:       client,
		Snapshots:    optional.snapshots,
		MatchClasses: o.Admission.MatchClasses,
		SecretName:   o.Admission.Secret,
	}
	if config.Webhook.CrossNamespace {
		config.Grants = optional.grants
	}
	if o.Admission.Certificates == certificatesFiles {
		config.Files = &certs.FilesConfig{Certificate: o.Admission.CertificateFile, Key: o.Admission.KeyFile}
		config.Conditions = certs.ConditionsConfig{Client: client, Mutating: o.Admission.Mutating, Validating: o.Admission.Validating}
		return config, nil
	}
	config.SelfManaged = certs.SelfManagedConfig{
		Client: client, Namespace: o.Leader.namespace(), Names: o.Admission.ServiceNames,
		Mutating: o.Admission.Mutating, Validating: o.Admission.Validating, Periods: o.Admission.Periods, Now: clock.Now,
	}
	return config, nil
}

// newDiagnostics says how health and metrics are served, and to whom.
func newDiagnostics(o *Options, client kubernetes.Interface, version string) (diagnostics.Config, error) {
	config := diagnostics.Config{
		Address: o.Diagnostics.address(), MetricsPath: o.Diagnostics.MetricsPath, Pprof: o.Diagnostics.EnablePprof,
		Version: version,
	}
	if o.Diagnostics.CertificateFile != "" {
		config.Files = &diagnostics.Files{Certificate: o.Diagnostics.CertificateFile, Key: o.Diagnostics.KeyFile}
	}
	if o.Diagnostics.Authorization {
		var err error
		if config.Access, err = diagnostics.NewAccess(client); err != nil {
			return diagnostics.Config{}, err
		}
	}
	return config, nil
}

// newElection gives the election a client of its own, without the limits of the main one.
func newElection(o *LeaderOptions, shared *rest.Config) (*lead.Config, error) {
	own := rest.CopyConfig(shared)
	own.QPS, own.Burst = -1, 0
	watcher, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("make a client that watches the lease: %w", err)
	}
	own.Timeout = max(time.Second, o.RenewDeadline/2)
	client, err := kubernetes.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("make a client for leader election: %w", err)
	}
	self := o.Identity
	if self == "" {
		if self, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("host name, for leader election: %w", err)
		}
	}
	return &lead.Config{
		Client:        client,
		Watcher:       watcher,
		Namespace:     o.namespace(),
		Identity:      self,
		Labels:        o.Labels,
		LeaseDuration: o.LeaseDuration,
		RenewDeadline: o.RenewDeadline,
		RetryPeriod:   o.RetryPeriod,
	}, nil
}

// identity marks the volumes that this process makes, in the established provisioner's form: start, a random number, the driver.
func identity(driver string) string {
	return fmt.Sprintf("%d-%d-%s", time.Now().UnixMilli(), rand.IntN(10000), driver) //nolint:gosec // not a secret
}
