// Package mounts does what a node plugin has to do in the kernel: bind mounts, and loop devices over files. It knows paths, not volumes. Nothing is
// remembered: what is mounted where is read from the kernel each time, so a process that was killed finds what it left behind, and
// after a start of the machine nothing is believed that is gone.
package mounts

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mount is something that is mounted.
type Mount struct {
	Path    string   // where
	Root    string   // what, as a path inside of its file system
	Options []string // of this mount, as mount(8) shows them: ro, nosuid
}

// Readonly says whether nothing can be written by way of this mount.
func (m Mount) Readonly() bool { return slices.Contains(m.Options, "ro") }

// All lists what is mounted, as this process sees it, the oldest first.
func All() ([]Mount, error) {
	infos, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	list := make([]Mount, len(infos))
	for i, info := range infos {
		list[i] = Mount{Path: info.Mountpoint, Root: info.Root, Options: strings.Split(info.Options, ",")}
	}
	return list, nil
}

// options are the mount options that one mount of several can have for itself.
var options = map[string]struct{ set, clear uint64 }{
	"ro": {set: unix.MOUNT_ATTR_RDONLY}, "rw": {},
	"nosuid": {set: unix.MOUNT_ATTR_NOSUID}, "suid": {},
	"nodev": {set: unix.MOUNT_ATTR_NODEV}, "dev": {},
	"noexec": {set: unix.MOUNT_ATTR_NOEXEC}, "exec": {},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"relatime":    {set: unix.MOUNT_ATTR_RELATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
	"nodiratime":  {set: unix.MOUNT_ATTR_NODIRATIME},
	"defaults":    {}, "bind": {},
}

// CheckOptions names the first option that is not one a bind mount can have. Those of a file system (data=ordered) are for who makes one.
func CheckOptions(list []string) error {
	for _, option := range list {
		if _, known := options[option]; !known {
			return fmt.Errorf("%q is not an option of a bind mount", option)
		}
	}
	return nil
}

// Has says whether a mount has the options. Those that only say that something is not restricted (rw, exec) hold wherever their opposites do not.
func (m Mount) Has(list []string) bool {
	for _, option := range list {
		known := options[option]
		if known.set != 0 && option != "strictatime" && !slices.Contains(m.Options, option) {
			return false
		}
	}
	return true
}

// Bind mounts a directory or file at another path as well, with options. It appears there with its options at once: who looks never sees a mount
// that should be read-only and is not yet.
func Bind(source, target string, list []string) error {
	var attributes unix.MountAttr
	for _, option := range list {
		attributes.Attr_set |= options[option].set
		attributes.Attr_clr |= options[option].clear
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("bind %s: %w", source, err)
	}
	defer unix.Close(tree)
	if attributes != (unix.MountAttr{}) {
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attributes); err != nil {
			return fmt.Errorf("bind %s: set options %s: %w", source, strings.Join(list, ","), err)
		}
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("bind %s at %s: %w", source, target, err)
	}
	return nil
}

// Unmount takes away what is mounted at a path, be it mounted several times. A path where nothing is mounted, and one that does not exist, are fine.
// What is in use stays, with an error (EBUSY).
func Unmount(path string) error {
	for {
		err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil:
			continue
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil
		default:
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
}
