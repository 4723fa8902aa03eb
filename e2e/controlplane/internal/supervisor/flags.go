package supervisor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

// DefaultControllers are those that claims, volumes and the workloads using them need. None judges nodes: a Node
// here is a plain object with no kubelet to keep it alive. None attaches volumes or evicts Pods for the same reason.
func DefaultControllers() []string {
	return []string{
		"clusterrole-aggregation-controller",
		"deployment-controller",
		"endpointslice-controller",
		"ephemeral-volume-controller",
		"garbage-collector-controller",
		"job-controller",
		"namespace-controller",
		"persistentvolume-binder-controller",
		"persistentvolume-protection-controller",
		"persistentvolumeclaim-protection-controller",
		"replicaset-controller",
		"root-ca-certificate-publisher-controller",
		"serviceaccount-controller",
		"serviceaccount-token-controller",
		"statefulset-controller",
		"volumeattributesclass-protection-controller",
	}
}

// NodeControllers are those of a control plane with a node as well: what judges the node and its Pods, attaches volumes, and keeps Pods on every node.
func NodeControllers() []string {
	return append(DefaultControllers(),
		"daemonset-controller",
		"disruption-controller",
		"endpoints-controller", // what the API server looks into as a proxy of Services
		"node-lifecycle-controller",
		"persistentvolume-attach-detach-controller",
		"persistentvolume-expander-controller",
		"pod-garbage-collector-controller",
		"taint-eviction-controller",
	)
}

// createsServiceAccounts reports whether a --controllers list has the controller that gives every namespace its
// default service account, written by its present name or the former one.
func createsServiceAccounts(list string) bool {
	items := strings.Split(list, ",")
	names := []string{"serviceaccount-controller", "serviceaccount"}
	listed := func(prefix string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(items, prefix+name) })
	}
	return !listed("-") && (listed("") || slices.Contains(items, "*"))
}

// ports are the places where the components listen, all on 127.0.0.1.
type ports struct {
	etcd, etcdPeer, apiServer, controllerManager, scheduler int
}

func (p ports) of(name component.Name) int {
	switch name {
	case component.Etcd:
		return p.etcd
	case component.APIServer:
		return p.apiServer
	case component.ControllerManager:
		return p.controllerManager
	case component.Scheduler:
		return p.scheduler
	case component.Kubelet:
		return kubeletPort
	}
	return 0
}

func loopback(port int) string { return "https://127.0.0.1:" + strconv.Itoa(port) }

// facts is all that the components' own flags follow from.
type facts struct {
	dir         directory.Dir
	ports       ports
	controllers []string
	audit       bool
	limits      limits
	// node is nil without one.
	node *node.Place
}

// limits are the controller-manager's client limits; zero values leave Kubernetes' own.
type limits struct {
	qps   float64
	burst int
}

const (
	qpsFlag   = "kube-api-qps"
	burstFlag = "kube-api-burst"
)

func (l limits) flags() component.Flags {
	flags := component.Flags{}
	if l.qps != 0 {
		flags[qpsFlag] = strconv.FormatFloat(l.qps, 'f', -1, 64)
	}
	if l.burst != 0 {
		flags[burstFlag] = strconv.Itoa(l.burst)
	}
	return flags
}

// flagsFor returns what a component is started with before anyone overrides a flag.
func flagsFor(name component.Name, f facts) component.Flags {
	switch name {
	case component.Etcd:
		return etcdFlags(f)
	case component.APIServer:
		return apiServerFlags(f)
	case component.ControllerManager:
		return controllerManagerFlags(f)
	case component.Scheduler:
		return schedulerFlags(f)
	case component.Containerd:
		return component.Flags{"config": f.node.ContainerdConfig()}
	case component.Kubelet:
		return kubeletFlags(f)
	}
	return nil
}

func etcdFlags(f facts) component.Flags {
	files := pki.LayoutOf(f.dir)
	client, peer := loopback(f.ports.etcd), loopback(f.ports.etcdPeer)
	return component.Flags{
		"name":                        "controlplane",
		"data-dir":                    f.dir.EtcdData(),
		"listen-client-urls":          client,
		"advertise-client-urls":       client,
		"listen-peer-urls":            peer,
		"initial-advertise-peer-urls": peer,
		"initial-cluster":             "controlplane=" + peer,
		"socket-reuse-port":           "true",

		"client-cert-auth":      "true",
		"cert-file":             files.EtcdServing.Certificate,
		"key-file":              files.EtcdServing.Key,
		"trusted-ca-file":       files.EtcdCA.Certificate,
		"peer-client-cert-auth": "true",
		"peer-cert-file":        files.EtcdServing.Certificate,
		"peer-key-file":         files.EtcdServing.Key,
		"peer-trusted-ca-file":  files.EtcdCA.Certificate,

		// The data has to survive a killed process, which it does in the page cache, but not a power cut.
		"unsafe-no-fsync":             "true",
		"quota-backend-bytes":         strconv.Itoa(8 << 30),
		"backend-bbolt-freelist-type": "map",
		// There is no other member whose heartbeat could be late, so the first election need not be waited for.
		"heartbeat-interval": "10",
		"election-timeout":   "100",

		"warning-unary-request-duration": "1s",
		"log-format":                     "console",
	}
}

func apiServerFlags(f facts) component.Flags {
	files := pki.LayoutOf(f.dir)
	flags := component.Flags{
		"bind-address":             "127.0.0.1",
		"advertise-address":        "127.0.0.1",
		"secure-port":              strconv.Itoa(f.ports.apiServer),
		"permit-port-sharing":      "true",
		"endpoint-reconciler-type": "none", // it would refuse to publish a loopback address
		"service-cluster-ip-range": serviceRange,
		"allow-privileged":         "true",

		"etcd-servers":  loopback(f.ports.etcd),
		"etcd-cafile":   files.EtcdCA.Certificate,
		"etcd-certfile": files.EtcdClient.Certificate,
		"etcd-keyfile":  files.EtcdClient.Key,

		"tls-cert-file":                    files.Serving.Certificate,
		"tls-private-key-file":             files.Serving.Key,
		"client-ca-file":                   files.CA.Certificate,
		"authorization-mode":               "Node,RBAC",
		"service-account-issuer":           "https://kubernetes.default.svc.cluster.local",
		"service-account-key-file":         files.ServiceAccount.Certificate,
		"service-account-signing-key-file": files.ServiceAccount.Key,

		"proxy-client-cert-file":             files.FrontProxy.Certificate,
		"proxy-client-key-file":              files.FrontProxy.Key,
		"requestheader-client-ca-file":       files.FrontProxyCA.Certificate,
		"requestheader-allowed-names":        pki.FrontProxyName,
		"requestheader-username-headers":     "X-Remote-User",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",

		"enable-admission-plugins": "NodeRestriction",
		// It taints every new Node until the node lifecycle controller has looked at it, and there is none.
		"disable-admission-plugins": "TaintNodesByCondition",

		// Priority and fairness stays on, as in any cluster; there is just more to share out.
		"max-requests-inflight":          "1600",
		"max-mutating-requests-inflight": "800",
		"shutdown-delay-duration":        "0",
	}
	if f.node != nil {
		flags = flags.Without("disable-admission-plugins").With(apiServerNodeFlags(files))
	}
	if f.audit {
		return flags.With(component.Flags{
			"audit-policy-file": f.dir.AuditPolicy(),
			"audit-log-path":    f.dir.Audit(),
			"audit-log-format":  "json",
			// A request is in the log before it is answered, so counts are right as soon as a client is done.
			"audit-log-mode":      "blocking",
			"audit-log-maxsize":   "4096",
			"audit-log-maxbackup": "4",
		})
	}
	return flags
}

func controllerManagerFlags(f facts) component.Flags {
	files := pki.LayoutOf(f.dir)
	return component.Flags{
		"controllers": strings.Join(f.controllers, ","),
		// As in any cluster, so that each controller has its own identity, role and rate limit.
		"use-service-account-credentials":  "true",
		"service-account-private-key-file": files.ServiceAccount.Key,
		"root-ca-file":                     files.CA.Certificate,
	}.With(kubernetesClientFlags(f, component.ControllerManager)).With(f.limits.flags())
}

func schedulerFlags(f facts) component.Flags {
	return kubernetesClientFlags(f, component.Scheduler)
}

// kubernetesClientFlags are those that the controller-manager and the scheduler share.
func kubernetesClientFlags(f facts, name component.Name) component.Flags {
	files := pki.LayoutOf(f.dir)
	kubeconfig := f.dir.ComponentKubeconfig(name)
	return component.Flags{
		"bind-address":              "127.0.0.1",
		"secure-port":               strconv.Itoa(f.ports.of(name)),
		"permit-port-sharing":       "true",
		"tls-cert-file":             files.Serving.Certificate,
		"tls-private-key-file":      files.Serving.Key,
		"kubeconfig":                kubeconfig,
		"authentication-kubeconfig": kubeconfig,
		"authorization-kubeconfig":  kubeconfig,
		// There is one of each; waiting for a killed predecessor's lease would only make restarts slow.
		"leader-elect": "false",
	}
}

const (
	serviceRange = "10.96.0.0/16"
	// serviceAddress is the first of the range: that of the kubernetes service itself.
	serviceAddress = node.ServiceAddress
)

// serverHosts are the names and addresses the API server is known by.
func serverHosts() []string {
	hosts := []string{"127.0.0.1", "localhost", serviceAddress}
	for _, suffix := range []string{"", ".default", ".default.svc", ".default.svc.cluster.local"} {
		hosts = append(hosts, fmt.Sprintf("kubernetes%s", suffix))
	}
	return hosts
}
