package mounts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Loop is a loop device: a file that can be used as a block device.
type Loop struct {
	Device   string // /dev/loop3
	Readonly bool
}

// These are where loop devices are found. In a container /dev has to be the node's: a device that is made while the container runs is only there.
const (
	devices     = "/dev"
	loopControl = devices + "/loop-control"
)

// Loops lists the devices over a file. They are told by the file's identity and not by its path, which is another in each container.
func Loops(file string) ([]Loop, error) {
	var want unix.Stat_t
	if err := unix.Stat(file, &want); err != nil {
		return nil, fmt.Errorf("loop devices of %s: %w", file, err)
	}
	return loops(func(info *unix.LoopInfo64) bool { return info.Device == want.Dev && info.Inode == want.Ino })
}

func loops(fits func(*unix.LoopInfo64) bool) ([]Loop, error) {
	attached, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var list []Loop
	for _, path := range attached {
		device := filepath.Join(devices, filepath.Base(filepath.Dir(filepath.Dir(path))))
		info, err := status(device)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
			continue // detached since, or not this container's business
		}
		if err != nil {
			return nil, fmt.Errorf("loop device %s: %w", device, err)
		}
		if fits(info) {
			list = append(list, Loop{Device: device, Readonly: info.Flags&unix.LO_FLAGS_READ_ONLY != 0})
		}
	}
	return list, nil
}

func status(device string) (*unix.LoopInfo64, error) {
	file, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return unix.IoctlLoopGetStatus64(int(file.Fd()))
}

// AttachLoop makes a device over a file.
func AttachLoop(file string, readonly bool) (Loop, error) {
	how, flags := os.O_RDWR, uint32(0)
	if readonly {
		how, flags = os.O_RDONLY, unix.LO_FLAGS_READ_ONLY
	}
	backing, err := os.OpenFile(file, how, 0)
	if err != nil {
		return Loop{}, fmt.Errorf("attach loop device: %w", err)
	}
	defer backing.Close()
	control, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	if err != nil {
		return Loop{}, fmt.Errorf("attach loop device: %w", err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: flags}}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], file)
	// A free device may be somebody else's by the time it is asked for; a machine has fewer than that asking at once.
	for range 64 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return Loop{}, fmt.Errorf("attach loop device: find a free one: %w", err)
		}
		loop := Loop{Device: fmt.Sprintf("%s/loop%d", devices, number), Readonly: readonly}
		err = withDevice(loop.Device, how, func(fd int) error { return unix.IoctlLoopConfigure(fd, &config) })
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			return Loop{}, fmt.Errorf("attach loop device %s to %s: %w", loop.Device, file, err)
		}
		return loop, nil
	}
	return Loop{}, fmt.Errorf("attach loop device to %s: each free device was taken by somebody else", file)
}

// DetachLoop frees a device. One that is open stays until it is closed.
func DetachLoop(loop Loop) error {
	err := withDevice(loop.Device, os.O_RDONLY, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0) })
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detach loop device %s: %w", loop.Device, err)
	}
	return nil
}

// GrowLoop makes a device as large as its file has become.
func GrowLoop(loop Loop) error {
	err := withDevice(loop.Device, os.O_RDONLY, func(fd int) error { return unix.IoctlSetInt(fd, unix.LOOP_SET_CAPACITY, 0) })
	if err != nil {
		return fmt.Errorf("grow loop device %s: %w", loop.Device, err)
	}
	return nil
}

// DeviceSize is the size of a block device, in bytes.
func DeviceSize(device string) (int64, error) {
	file, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.Seek(0, io.SeekEnd)
}

func withDevice(device string, how int, do func(fd int) error) error {
	file, err := os.OpenFile(device, how, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return do(int(file.Fd()))
}
