package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// surroundings is what decides whether a node can run on this machine.
type surroundings struct {
	// root is whether this process may make namespaces and mounts.
	root        bool
	hierarchies []hierarchy
	// programs that are not where they are looked for.
	runcMissing    bool
	mountMissing   bool
	runtimeMissing []string
	place          Place
}

// programs are those of the runtime's directory.
func programs() []string {
	return []string{"containerd", "containerd-shim-runc-v2", "ctr", "ptp", "host-local"}
}

// hidden are the directories that a node has its own of.
func hidden() []string { return []string{"/run", "/var/lib", "/var/log", "/var/run"} }

// missing says what would have to be different, in words for whoever runs this.
func (s surroundings) missing() []string {
	var missing []string
	if !s.root {
		missing = append(missing, "this is not root with CAP_SYS_ADMIN: run it as root")
	}
	if lacking := missingControllers(s.hierarchies); len(lacking) > 0 {
		text := "there are no cgroup v1 controllers " + strings.Join(lacking, ", ")
		for _, h := range s.hierarchies {
			if h.v2 && len(lacking) == len(needed()) {
				text += " (cgroup v2 alone is not supported)"
			}
		}
		missing = append(missing, text)
	}
	if s.runcMissing {
		missing = append(missing, "there is no runc: install the package runc")
	}
	if s.mountMissing {
		missing = append(missing, "there is no mount: install the package mount")
	}
	if len(s.runtimeMissing) > 0 {
		missing = append(missing, fmt.Sprintf("there is no %s in %s: run make node-bins", strings.Join(s.runtimeMissing, ", "), s.place.Runtime))
	}
	for _, directory := range hidden() {
		for _, path := range []string{string(s.place.Dir), s.place.Runtime} {
			if path == directory || strings.HasPrefix(path, directory+"/") {
				missing = append(missing, fmt.Sprintf("%s is below %s, of which a node has its own", path, directory))
			}
		}
	}
	return missing
}

// Missing says why a node cannot run here; none means that it can.
func Missing(place Place) ([]string, error) {
	s := surroundings{place: place, root: os.Geteuid() == 0 && hasSysAdmin()}
	var err error
	if s.hierarchies, err = mounted(); err != nil {
		return nil, err
	}
	_, err = exec.LookPath("runc")
	s.runcMissing = err != nil
	_, err = exec.LookPath("mount")
	s.mountMissing = err != nil
	for _, name := range programs() {
		if _, err := exec.LookPath(filepath.Join(place.Runtime, name)); err != nil {
			s.runtimeMissing = append(s.runtimeMissing, name)
		}
	}
	return s.missing(), nil
}

func hasSysAdmin() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}
