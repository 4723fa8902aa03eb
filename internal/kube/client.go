package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Access says how to reach the API server.
type Access struct {
	Kubeconfig string  // path; empty: the Pod's service account
	Master     string  // URL that overrides the kubeconfig's
	QPS        float32 // client-side limit; 0: none, the server's priority and fairness decides
	Burst      int
	UserAgent  string
}

// Config makes the client configuration. Built-in types travel as protobuf.
func (a Access) Config() (*rest.Config, error) {
	config, err := a.load()
	if err != nil {
		return nil, err
	}
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.UserAgent = a.UserAgent
	config.QPS, config.Burst = a.QPS, a.Burst
	if a.QPS == 0 {
		config.QPS = -1 // client-go's word for "no limit"
	}
	return config, nil
}

func (a Access) load() (*rest.Config, error) {
	if a.Kubeconfig == "" && a.Master == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no --kubeconfig given, and not running in a Pod: %w", err)
		}
		return config, nil
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: a.Kubeconfig},
		overrides(a.Master))
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %q: %w", a.Kubeconfig, err)
	}
	return config, nil
}

func overrides(master string) *clientcmd.ConfigOverrides {
	o := &clientcmd.ConfigOverrides{}
	o.ClusterInfo.Server = master
	return o
}
