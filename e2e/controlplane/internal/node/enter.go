package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNoNode says that the control plane runs without a node.
var ErrNoNode = errors.New("the control plane has no node: it was not started with up --node")

// Command is to be run inside.
type Command struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Enter runs a command in the namespaces of a node's supervisor, whose pid outside is given, and returns its exit code. Like everything inside, it is
// killed when the node ends.
func Enter(ctx context.Context, supervisor int, command Command) (code int, err error) {
	files := map[string]*os.File{}
	for _, kind := range []string{"pid", "uts", "net", "mnt"} {
		file, err := os.Open("/proc/" + strconv.Itoa(supervisor) + "/ns/" + kind)
		if err != nil {
			return 0, fmt.Errorf("enter node: %w", err)
		}
		defer file.Close()
		files[kind] = file
	}
	place, err := placeOf(supervisor)
	if err != nil {
		return 0, err
	}
	child := exec.CommandContext(ctx, command.Args[0], command.Args[1:]...)
	child.Stdin, child.Stdout, child.Stderr = command.Stdin, command.Stdout, command.Stderr
	child.Env = append(os.Environ(), "PATH="+place.searchPath(), "KUBECONFIG="+place.Dir.Kubeconfig(), "CONTAINERD_ADDRESS="+ContainerdSocket,
		"CONTAINERD_NAMESPACE=k8s.io")
	if found := lookPath(place.searchPath(), command.Args[0]); found != "" {
		child.Path, child.Err = found, nil
	}

	failed := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, for it cannot go back.
		runtime.LockOSThread()
		// Threads of a process share root and working directory, with which no mount namespace can be entered.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			failed <- fmt.Errorf("enter node: %w", err)
			return
		}
		for _, kind := range []string{"pid", "uts", "net", "mnt"} {
			if err := unix.Setns(int(files[kind].Fd()), 0); err != nil {
				failed <- fmt.Errorf("enter node's %s namespace: %w", kind, err)
				return
			}
		}
		failed <- child.Run()
	}()
	err = <-failed
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(exit.ProcessState), nil
	}
	return 0, err
}

// placeOf reads the place out of a supervisor's environment.
func placeOf(supervisor int) (Place, error) {
	environment, err := os.ReadFile("/proc/" + strconv.Itoa(supervisor) + "/environ")
	if err != nil {
		return Place{}, fmt.Errorf("enter node: %w", err)
	}
	for variable := range strings.SplitSeq(string(environment), "\x00") {
		if encoded, found := strings.CutPrefix(variable, placeVariable+"="); found {
			return parsePlace(encoded)
		}
	}
	return Place{}, ErrNoNode
}

// searchPath is where programs are looked for inside: the runtime's own come first.
func (p Place) searchPath() string {
	path := os.Getenv("PATH")
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	return p.Runtime + ":" + path
}

// lookPath finds a program as a shell would. Programs lie in the same places inside and outside.
func lookPath(searchPath, name string) string {
	if strings.Contains(name, "/") {
		return ""
	}
	for directory := range strings.SplitSeq(searchPath, ":") {
		if found, err := exec.LookPath(directory + "/" + name); err == nil {
			return found
		}
	}
	return ""
}
