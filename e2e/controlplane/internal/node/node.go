// Package node gives a control plane a machine of its own, without Docker and without leaving a trace: private mount, network, PID and host name
// namespaces, in which a kubelet and containerd find the paths, addresses and cgroups they expect.
//
//	up --node          asks what is missing (Missing), owns DIR and the port outside
//	 └─ keeper         parent of the namespaces; removes the cgroups when all in them is gone, however `up` ended
//	     └─ init       pid 1 inside: mounts, addresses, host name; reaps
//	         └─ up     the supervisor with all its components, as without a node
//
// The end of `up`, SIGKILL included, is the end of the keeper's lifeline; it kills init, and the kernel everything else in the namespaces, with
// which all mounts and addresses go. The keeper is in a session of its own, so that no interrupt and no killed process group takes it along.
//
// The API server listens on the inner network only. The listener that the outside knows is a socket of the outer network namespace, inherited by the
// supervisor, which passes connections on (Relay).
package node

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

// What a node looks like from inside.
const (
	// Name is the Node's.
	Name = "node"
	// Address is the Node's, the only one besides loopback and Pods.
	Address = "10.77.0.1"
	// PodRange is where Pods get theirs.
	PodRange = "10.78.0.0/24"
	// ContainerdSocket is where containerd listens.
	ContainerdSocket = "/run/containerd/containerd.sock"
	// KubeletRoot is where the plugins of a driver look for the kubelet.
	KubeletRoot = "/var/lib/kubelet"
)

// Place says where a node's things are. It is handed down from `up` to the supervisor.
type Place struct {
	Dir directory.Dir `json:"dir"`
	// Runtime is the directory of containerd's and the network plugins' programs.
	Runtime string `json:"runtime"`
	// Port is where the outside finds the API server, on loopback.
	Port int `json:"port"`
}

// Cgroup is the name of the node's cgroup in each hierarchy. It follows from the directory, so that who comes next can remove it.
func (p Place) Cgroup() string {
	h := fnv.New64a()
	h.Write([]byte(p.Dir))
	return fmt.Sprintf("controlplane-%016x", h.Sum64())
}

// Path is a file or directory of the node's below DIR.
func (p Place) Path(elements ...string) string {
	return filepath.Join(append([]string{string(p.Dir), "node"}, elements...)...)
}

// Program is the path of one of the runtime's programs.
func (p Place) Program(name string) string { return filepath.Join(p.Runtime, name) }

// placeVariable hands the Place down; it being set tells a supervisor that it is inside.
const placeVariable = "CONTROLPLANE_NODE"

func (p Place) environment() ([]string, error) {
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode place: %w", err)
	}
	return append(os.Environ(), placeVariable+"="+string(encoded)), nil
}

// Inside returns the place if this process is in a node's namespaces.
func Inside() (place Place, inside bool, err error) {
	encoded, inside := os.LookupEnv(placeVariable)
	if !inside {
		return Place{}, false, nil
	}
	place, err = parsePlace(encoded)
	return place, true, err
}

func parsePlace(encoded string) (Place, error) {
	var place Place
	if err := json.Unmarshal([]byte(encoded), &place); err != nil {
		return Place{}, fmt.Errorf("read %s: %w", placeVariable, err)
	}
	return place, nil
}
