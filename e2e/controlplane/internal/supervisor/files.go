package supervisor

import (
	"k8s.io/client-go/rest"

	"github.com/berth-csi/berth/e2e/controlplane/internal/audit"
	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
	"github.com/berth-csi/berth/e2e/controlplane/internal/kubeconfig"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

// writeFiles makes certificates, kubeconfigs and the audit policy.
func (s *Supervisor) writeFiles() error {
	dir := s.config.Dir
	layout := pki.LayoutOf(dir)
	clients, err := layout.Populate(serverHosts())
	if err != nil {
		return err
	}
	cluster := kubeconfig.Cluster{Server: loopback(s.facts.ports.apiServer), CA: clients.CA}
	users := map[string]pki.Pair{dir.Kubeconfig(): clients.Admin}
	for name, pair := range clients.Components {
		users[dir.ComponentKubeconfig(name)] = pair
	}
	servers := map[string]string{dir.Kubeconfig(): s.server()}
	if s.config.Node != nil {
		machine := pki.Machine{Name: node.Name, Address: node.Address}
		pair, err := layout.PopulateNode(machine)
		if err != nil {
			return err
		}
		users[dir.ComponentKubeconfig(component.Kubelet)] = pair
		err = s.config.Node.WriteFiles(node.Certificates{Serving: layout.Kubelet.Certificate, Key: layout.Kubelet.Key, ClientCA: layout.CA.Certificate})
		if err != nil {
			return err
		}
	}
	for path, pair := range users {
		user := kubeconfig.User{Name: "controlplane", Credential: kubeconfig.Credential{Certificate: pair}}
		known := cluster
		if server, otherwise := servers[path]; otherwise {
			known.Server = server
		}
		encoded, err := kubeconfig.Encode(known, user)
		if err != nil {
			return err
		}
		if err := directory.Write(path, encoded, 0o600); err != nil {
			return err
		}
	}
	if err := directory.Write(dir.AuditPolicy(), []byte(audit.Policy), 0o600); err != nil {
		return err
	}
	if s.prober, err = newProber(layout, s.facts.ports, clients); err != nil {
		return err
	}
	s.prober.controllers = func() string { return s.units[component.ControllerManager].read().flags["controllers"] }
	s.admin = &rest.Config{
		Host: cluster.Server,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: clients.CA, CertData: clients.Admin.Certificate, KeyData: clients.Admin.Key,
		},
		UserAgent: userAgent,
		QPS:       -1,
	}
	return nil
}
