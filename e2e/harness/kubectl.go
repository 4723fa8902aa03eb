package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Kubectl runs kubectl as the administrator of the control plane and returns what it prints, as a person sees it: standard output and standard
// error in one. It is found in the PATH that dirs come first in, which is where kubectl looks for its plugins. The error is about its exit code.
func (c *ControlPlane) Kubectl(ctx context.Context, stdin string, dirs []string, args ...string) (string, error) {
	path, err := Binary("kubectl")
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig(),
		"KUBECACHEDIR="+filepath.Join(c.Dir, "kubectl"), // what it knows about the server of another run at the same address is wrong
		"PATH="+strings.Join(append(dirs, os.Getenv("PATH")), string(filepath.ListSeparator)))
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}
