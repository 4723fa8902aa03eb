// Package kubeconfig writes kubeconfigs that stand alone: certificates and tokens are inside, so a file can be copied
// or handed to a process in another place.
package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

// Cluster is where the API server is and whom to trust about it.
type Cluster struct {
	Server string
	CA     []byte
}

// Credential is how a user proves who they are: a client certificate, or a token if that is not empty.
type Credential struct {
	Certificate pki.Pair
	Token       string
}

// User is who a kubeconfig speaks for.
type User struct {
	Name       string
	Credential Credential
	// Namespace is what commands use when they are given none; empty means "default".
	Namespace string
}

const clusterName = "controlplane"

// Encode writes the kubeconfig.
func Encode(cluster Cluster, user User) ([]byte, error) {
	config := api.NewConfig()
	config.Clusters[clusterName] = &api.Cluster{Server: cluster.Server, CertificateAuthorityData: cluster.CA}
	info := &api.AuthInfo{Token: user.Credential.Token}
	if info.Token == "" {
		info.ClientCertificateData = user.Credential.Certificate.Certificate
		info.ClientKeyData = user.Credential.Certificate.Key
	}
	config.AuthInfos[user.Name] = info
	config.Contexts[clusterName] = &api.Context{Cluster: clusterName, AuthInfo: user.Name, Namespace: user.Namespace}
	config.CurrentContext = clusterName
	encoded, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig for %s: %w", user.Name, err)
	}
	return encoded, nil
}

// ReadCluster takes the cluster out of a kubeconfig file that Encode has written.
func ReadCluster(path string) (Cluster, error) {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return Cluster{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	cluster, found := config.Clusters[clusterName]
	if !found {
		return Cluster{}, fmt.Errorf("read kubeconfig %s: it has no cluster %q", path, clusterName)
	}
	return Cluster{Server: cluster.Server, CA: cluster.CertificateAuthorityData}, nil
}
