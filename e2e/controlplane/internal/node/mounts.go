package node

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// sysctls are those that a kubelet sets for the whole machine, with the values that it wants. It reads them first and writes only what differs, so
// files with those values, mounted over them, keep the machine's own as they are.
func sysctls() map[string]string {
	return map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	}
}

// mountAll gives the inside its own /proc and its own directories where programs of a node write.
func mountAll(place Place) error {
	// Nothing of what follows may reach the outside. Then mounts are shared again, within: Pods with bidirectional propagation ask for it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts inside: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := coverSysctls(place); err != nil {
		return err
	}
	for _, directory := range []string{"/run", "/var/lib"} {
		if err := unix.Mount("tmpfs", directory, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("mount %s: %w", directory, err)
		}
	}
	// What is worth a look afterwards, or too large for memory, is below DIR.
	for directory, name := range map[string]string{KubeletRoot: "kubelet", "/var/lib/containerd": "containerd", "/var/log": "log"} {
		for _, path := range []string{directory, place.Path(name)} {
			if err := os.MkdirAll(path, 0o755); err != nil {
				return fmt.Errorf("mount %s: %w", directory, err)
			}
		}
		if err := unix.Mount(place.Path(name), directory, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", directory, err)
		}
	}
	return nil
}

func coverSysctls(place Place) error {
	for name, value := range sysctls() {
		over := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(over); os.IsNotExist(err) {
			continue // this kernel has none
		}
		path := place.Path("sysctl", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("cover %s: %w", over, err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("cover %s: %w", over, err)
		}
		if err := unix.Mount(path, over, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover %s: %w", over, err)
		}
	}
	return nil
}
