package app

import (
	"fmt"

	"github.com/spf13/pflag"
)

// KubeOptions say how to reach the API server.
type KubeOptions struct {
	Kubeconfig string
	Master     string
	QPS        float32
	Burst      int
}

// AddFlags adds the flags.
func (o *KubeOptions) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig,
		"Path of a kubeconfig. Without it the Pod's service account is used. The environment variable KUBECONFIG takes its place if set.")
	flags.StringVar(&o.Master, "master", o.Master, "URL of the API server; takes the place of the kubeconfig's.")
	flags.Float32Var(&o.QPS, "kube-api-qps", o.QPS,
		"Requests per second to the API server at most. 0: no limit of our own, the server's priority and fairness decides.")
	flags.IntVar(&o.Burst, "kube-api-burst", o.Burst, "Requests that may exceed --kube-api-qps for a moment; only with --kube-api-qps.")
}

// Validate checks the values.
func (o *KubeOptions) Validate() error {
	switch {
	case o.QPS < 0:
		return fmt.Errorf("--kube-api-qps must not be negative (0 means no limit), not %v", o.QPS)
	case o.Burst < 0:
		return fmt.Errorf("--kube-api-burst must not be negative, not %d", o.Burst)
	case o.QPS > 0 && o.Burst == 0:
		o.Burst = max(1, int(2*o.QPS))
	}
	return nil
}
