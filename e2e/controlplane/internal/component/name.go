// Package component names the four parts of the control plane and holds the settings a user gives for them: flags
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

// All lists the components in the order in which they can start. Stopping goes the other way.
func All() []Name {
	return []Name{Etcd, APIServer, ControllerManager, Scheduler}
}

// Kubernetes lists the components that share Kubernetes' feature gates: all but etcd, which has gates of its own.
func Kubernetes() []Name {
	return []Name{APIServer, ControllerManager, Scheduler}
}

// Parse accepts exactly the names All lists.
func Parse(s string) (Name, error) {
	if name := Name(s); slices.Contains(All(), name) {
		return name, nil
	}
	known := make([]string, 0, len(All()))
	for _, name := range All() {
		known = append(known, string(name))
	}
	return "", fmt.Errorf("unknown component %q, known are %s", s, strings.Join(known, ", "))
}
