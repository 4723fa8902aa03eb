//go:build node

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-csi/berth/e2e/harness"
)

// machine is what a cluster has to leave as it was.
type machine struct {
	// Mounts are all, Sysctls those that anybody may write.
	Mounts  string
	Sysctls map[string]string
	// Cgroups are those of one cluster. Other clusters on the machine have theirs.
	Cgroups []string
}

func nothingIsLeft(before machine, cgroup string) error {
	after, err := seen(cgroup)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(before, after); diff != "" {
		return fmt.Errorf("the machine is not as it was (-before +after):\n%s", diff)
	}
	return nil
}

// cgroupOf is the name of a cluster's cgroup, as its kubelet has been told it.
func cgroupOf(c *harness.ControlPlane) (string, error) {
	settings, err := os.ReadFile(filepath.Join(c.Dir, "node", "kubelet.yaml"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(settings)) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "cgroupRoot: /"); found {
			return name, nil
		}
	}
	return "", errors.New("the kubelet has no cgroup of its own")
}

func seen(cgroup string) (machine, error) {
	m := machine{Sysctls: map[string]string{}}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return m, err
	}
	m.Mounts = string(mounts)
	err = filepath.WalkDir("/proc/sys", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || path == "/proc/sys/kernel/ns_last_pid" { // which everybody changes all the time
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Mode()&0o200 == 0 {
			return nil
		}
		if value, err := os.ReadFile(path); err == nil {
			m.Sysctls[path] = string(value)
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	if cgroup != "" {
		err = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() && strings.Contains(path, cgroup) {
				m.Cgroups = append(m.Cgroups, path)
			}
			return nil // others' come and go
		})
	}
	return m, err
}

// processesIn counts the processes that have a directory in their command line.
func processesIn(dir string) (int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	count := 0
	for _, path := range paths {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), dir) {
			count++
		}
	}
	return count, nil
}

// gone waits until nothing is left of a cluster that was killed.
func gone(ctx context.Context, before machine, cgroup, dir string) error {
	return harness.Eventually(ctx, "nothing is left of the cluster", func(context.Context) error {
		if count, err := processesIn(dir); err != nil || count > 0 {
			return errors.Join(err, fmt.Errorf("%d processes run", count))
		}
		return nothingIsLeft(before, cgroup)
	})
}
