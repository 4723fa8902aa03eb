package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// begin is pid 1 of the namespaces: it furnishes them, starts the supervisor, and reaps. When it ends the kernel kills whatever is left inside.
func begin(args []string) (code int, err error) {
	place, handed, err := Inside()
	if err != nil {
		return 1, err
	}
	if !handed || os.Getpid() != 1 {
		return 1, errNotInside
	}
	executable, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find own executable: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	for _, furnish := range []func(Place) error{mountAll, configureNetwork, nameHost} {
		if err := furnish(place); err != nil {
			return 1, err
		}
	}
	supervisor, err := syscall.ForkExec(executable, append([]string{"controlplane", "up"}, args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2, listenerFile},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return 1, fmt.Errorf("start supervisor: %w", err)
	}
	go func() {
		for sig := range signals {
			_ = syscall.Kill(supervisor, sig.(syscall.Signal))
		}
	}()
	return reap(supervisor)
}

// reap waits for everybody, for orphans become children of pid 1, until the supervisor has ended.
func reap(supervisor int) (code int, err error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1, fmt.Errorf("wait for processes: %w", err)
		case pid == supervisor && status.Signaled():
			return 1, fmt.Errorf("the supervisor was ended by a signal: %s", status.Signal())
		case pid == supervisor && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}

func nameHost(Place) error {
	if err := unix.Sethostname([]byte(Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	return nil
}
