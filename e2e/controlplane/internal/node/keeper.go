package node

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

var errNotInside = errors.New("it is not called by up")

// keep is the keeper: it makes the namespaces with init in them, ends them with the lifeline, and removes the cgroups.
func keep(args []string) (code int, err error) {
	place, handed, err := Inside()
	if err != nil {
		return 1, err
	}
	if !handed {
		return 1, errNotInside
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	executable, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find own executable: %w", err)
	}
	// What a killed keeper has left.
	if err := RemoveCgroups(place); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, RemoveCgroups(place)) }()
	if err := createCgroups(place.Cgroup()); err != nil {
		return 1, err
	}

	lifeline := os.NewFile(lifelineFile, "lifeline")
	syscall.CloseOnExec(lifelineFile)
	syscall.CloseOnExec(ownerFile)
	child := &exec.Cmd{
		Path:       executable,
		Args:       append([]string{"controlplane", string(initCall)}, args...),
		Env:        os.Environ(),
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{os.NewFile(listenerFile, "listener")},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
			Setpgid:    true,
			Pdeathsig:  syscall.SIGKILL,
		},
	}
	inside, err := start(child)
	if err != nil {
		return 1, fmt.Errorf("create namespaces: %w", err)
	}
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, lifeline) // whatever ends it, there is nobody left to run for
		close(orphaned)
	}()
	for {
		select {
		case state := <-inside.ended:
			return exitCode(state), nil
		case <-orphaned:
			_ = inside.process.Kill()
			orphaned = nil
		case sig := <-signals:
			_ = inside.process.Signal(sig)
		}
	}
}
