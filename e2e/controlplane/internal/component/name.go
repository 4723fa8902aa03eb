// Package component names the four parts of the control plane, and the two of a node, and holds the settings a user gives for them: flags
// and feature gates, parsed and merged. It is pure; it imports nothing but the standard library.
package component

import (
	"fmt"
	"slices"
	"strings"
)

// Name is the name of a component, as its own project spells it. The zero value names nothing and never comes out
// of Parse.
type Name string

// The components, in the order in which they can start.
const (
	Etcd              Name = "etcd"
	APIServer         Name = "kube-apiserver"
	ControllerManager Name = "kube-controller-manager"
	Scheduler         Name = "kube-scheduler"
)

// The components of a node, in the order in which they can start: containerd at any time, the kubelet after it and the API server.
const (
	Containerd Name = "containerd"
	Kubelet    Name = "kubelet"
)

// All lists the components of every control plane in the order in which they can start. Stopping goes the other way.
func All() []Name {
	return []Name{Etcd, APIServer, ControllerManager, Scheduler}
}

// Node lists those that a control plane with a node has as well.
func Node() []Name {
	return []Name{Containerd, Kubelet}
}

// Kubernetes lists the components that share Kubernetes' feature gates: all but etcd, which has gates of its own, and containerd, which has none.
func Kubernetes() []Name {
	return []Name{APIServer, ControllerManager, Scheduler, Kubelet}
}

// Parse accepts exactly the names that All and Node list.
func Parse(s string) (Name, error) {
	everything := slices.Concat(All(), Node())
	if name := Name(s); slices.Contains(everything, name) {
		return name, nil
	}
	known := make([]string, 0, len(everything))
	for _, name := range everything {
		known = append(known, string(name))
	}
	return "", fmt.Errorf("unknown component %q, known are %s", s, strings.Join(known, ", "))
}
