package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

// Layout says which file holds what. Authorities are three, as in any cluster: one certificate of the main one must
// not open etcd, nor pass for the aggregating proxy.
type Layout struct {
	CA             Files
	EtcdCA         Files
	FrontProxyCA   Files
	ServiceAccount Files

	// Serving is shared by the three Kubernetes components, all on the same loopback address.
	Serving     Files
	EtcdServing Files
	EtcdClient  Files
	FrontProxy  Files
	// Kubelet and KubeletClient are a node's: what it serves with, and what the API server shows it.
	Kubelet       Files
	KubeletClient Files
}

// LayoutOf is the Layout of a directory.
func LayoutOf(dir directory.Dir) Layout {
	files := func(name string) Files {
		return Files{Certificate: dir.PKI(name + ".crt"), Key: dir.PKI(name + ".key")}
	}
	return Layout{
		CA:             files("ca"),
		EtcdCA:         files("etcd-ca"),
		FrontProxyCA:   files("front-proxy-ca"),
		ServiceAccount: Files{Certificate: dir.PKI("service-account.pub"), Key: dir.PKI("service-account.key")},
		Serving:        files("serving"),
		EtcdServing:    files("etcd"),
		EtcdClient:     files("etcd-client"),
		FrontProxy:     files("front-proxy"),
		Kubelet:        files("kubelet"),
		KubeletClient:  files("kubelet-client"),
	}
}

// Clients are the identities that the control plane itself needs against its API server.
type Clients struct {
	CA         []byte
	Admin      Pair
	Components map[component.Name]Pair
}

// Populate makes whatever is missing. Authorities and the service account key are kept from an earlier run, or
// tokens and kubeconfigs handed out then would turn bad; everything else is issued afresh.
func (l Layout) Populate(serverHosts []string) (Clients, error) {
	ca, err := LoadOrCreate("controlplane", l.CA)
	if err != nil {
		return Clients{}, err
	}
	etcdCA, err := LoadOrCreate("controlplane-etcd", l.EtcdCA)
	if err != nil {
		return Clients{}, err
	}
	frontProxyCA, err := LoadOrCreate("controlplane-front-proxy", l.FrontProxyCA)
	if err != nil {
		return Clients{}, err
	}
	if err := createServiceAccountKey(l.ServiceAccount); err != nil {
		return Clients{}, err
	}

	loopback := []string{"127.0.0.1", "localhost"}
	for _, leaf := range []struct {
		issue func() (Pair, error)
		files Files
	}{
		{func() (Pair, error) { return ca.Server(Subject{Name: "controlplane"}, serverHosts) }, l.Serving},
		{func() (Pair, error) { return etcdCA.Server(Subject{Name: "etcd"}, loopback) }, l.EtcdServing},
		{func() (Pair, error) { return etcdCA.Client(Subject{Name: "kube-apiserver"}) }, l.EtcdClient},
		{func() (Pair, error) { return frontProxyCA.Client(Subject{Name: FrontProxyName}) }, l.FrontProxy},
	} {
		pair, err := leaf.issue()
		if err != nil {
			return Clients{}, err
		}
		if err := pair.Write(leaf.files); err != nil {
			return Clients{}, err
		}
	}

	clients := Clients{CA: ca.Certificate, Components: map[component.Name]Pair{}}
	if clients.Admin, err = ca.Client(Subject{Name: "kubernetes-admin", Groups: []string{"system:masters"}}); err != nil {
		return Clients{}, err
	}
	// The names the bootstrap roles are bound to.
	for name, user := range map[component.Name]string{
		component.ControllerManager: "system:kube-controller-manager",
		component.Scheduler:         "system:kube-scheduler",
	} {
		if clients.Components[name], err = ca.Client(Subject{Name: user}); err != nil {
			return Clients{}, err
		}
	}
	return clients, nil
}

// Machine is a node that runs a kubelet.
type Machine struct {
	Name, Address string
}

// PopulateNode makes what a kubelet and its API server need for each other, after Populate, and returns who the kubelet is: the Node that the Node
// authorizer knows by its name.
func (l Layout) PopulateNode(machine Machine) (Pair, error) {
	ca, err := Load(l.CA)
	if err != nil {
		return Pair{}, err
	}
	kubelet := Subject{Name: "system:node:" + machine.Name, Groups: []string{"system:nodes"}}
	serving, err := ca.Server(kubelet, []string{machine.Name, machine.Address})
	if err != nil {
		return Pair{}, err
	}
	if err := serving.Write(l.Kubelet); err != nil {
		return Pair{}, err
	}
	// As kubeadm does it: the API server may do everything with a kubelet.
	client, err := ca.Client(Subject{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}})
	if err != nil {
		return Pair{}, err
	}
	if err := client.Write(l.KubeletClient); err != nil {
		return Pair{}, err
	}
	return ca.Client(kubelet)
}

// FrontProxyName is the common name the API server accepts in the aggregating proxy's certificate.
const FrontProxyName = "front-proxy-client"

// createServiceAccountKey makes the pair that signs service account tokens, unless it is there.
func createServiceAccountKey(files Files) error {
	_, err := os.Stat(files.Key)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("create service account key: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("create service account key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("create service account key: %w", err)
	}
	return Pair{
		Certificate: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		Key:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}.Write(files)
}
