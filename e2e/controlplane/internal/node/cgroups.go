package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// hierarchy is a mounted cgroup file system.
type hierarchy struct {
	path string
	// controllers of a v1 hierarchy; the named one of an init system and v2 have none.
	controllers []string
	v2          bool
}

// needed are the v1 controllers without which the kubelet or runc does not start.
func needed() []string {
	return []string{"cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"}
}

// hierarchies finds the mounted cgroup file systems in /proc/self/mountinfo (proc_pid_mountinfo(5)). Behind the dash stand the type, the source and the
// file system's own options, controllers among them.
func hierarchies(mountinfo string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(mountinfo) {
		mount, filesystem, dashed := strings.Cut(strings.TrimSpace(line), " - ")
		about, of := strings.Fields(mount), strings.Fields(filesystem)
		if !dashed || len(about) < 5 || len(of) < 3 || about[3] != "/" {
			continue // not the whole hierarchy: somebody else's part of it
		}
		switch of[0] {
		case "cgroup2":
			found = append(found, hierarchy{path: about[4], v2: true})
		case "cgroup":
			h := hierarchy{path: about[4]}
			for option := range strings.SplitSeq(of[2], ",") {
				if slices.Contains(needed(), option) {
					h.controllers = append(h.controllers, option)
				}
			}
			found = append(found, h)
		}
	}
	return found
}

// missingControllers says which of the needed controllers have no v1 hierarchy.
func missingControllers(found []hierarchy) []string {
	return slices.DeleteFunc(needed(), func(controller string) bool {
		return slices.ContainsFunc(found, func(h hierarchy) bool { return slices.Contains(h.controllers, controller) })
	})
}

func mounted() ([]hierarchy, error) {
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	return hierarchies(string(mountinfo)), nil
}

// createCgroups makes the cgroup that the kubelet keeps all Pods below. In a new cpuset nothing can run before it has been given processors and
// memory nodes.
func createCgroups(name string) error {
	found, err := mounted()
	if err != nil {
		return err
	}
	for _, h := range found {
		path := filepath.Join(h.path, name)
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("create cgroup: %w", err)
		}
		if !slices.Contains(h.controllers, "cpuset") {
			continue
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(h.path, file))
			if err != nil {
				return fmt.Errorf("create cgroup: %w", err)
			}
			if err := os.WriteFile(filepath.Join(path, file), value, 0o644); err != nil {
				return fmt.Errorf("create cgroup: %w", err)
			}
		}
	}
	return nil
}

// cgroupPatience is for processes that are gone for everybody but their cgroup.
const cgroupPatience = 30 * time.Second

// RemoveCgroups removes the node's cgroups with all below, in which nothing runs any more. It is fine if there are none.
func RemoveCgroups(place Place) error {
	found, err := mounted()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(cgroupPatience); ; time.Sleep(20 * time.Millisecond) {
		var errs []error
		for _, h := range found {
			errs = append(errs, removeTree(filepath.Join(h.path, place.Cgroup())))
		}
		if err := errors.Join(errs...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// removeTree removes a cgroup and those below it. Their files cannot be removed, and need not be.
func removeTree(path string) error {
	var cgroups []string
	err := filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			cgroups = append(cgroups, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for _, cgroup := range slices.Backward(cgroups) {
		if err := os.Remove(cgroup); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}
