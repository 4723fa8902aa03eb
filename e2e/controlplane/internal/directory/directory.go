// Package directory is the one place that knows where things lie below DIR, and who owns DIR: the running `up` holds
// an flock on the directory itself, so ownership ends with the process however it ends, and needs no file of its own.
package directory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
)

// ErrInUse says that another process owns the directory.
var ErrInUse = errors.New("directory is in use by a running control plane")

// Dir is the directory of one control plane, as an absolute path.
type Dir string

// Open resolves path; it creates nothing.
func Open(path string) (Dir, error) {
	if path == "" {
		return "", errors.New("no directory given, use --dir")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolve %s: %w", path, err)
	}
	return Dir(absolute), nil
}

// Create makes the directory and those below it. The data holds keys, so nobody else may look.
func (d Dir) Create() error {
	for _, path := range []string{string(d), d.path("logs"), d.path("pki"), d.EtcdData()} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("create directory: %w", err)
		}
	}
	return nil
}

func (d Dir) path(elements ...string) string {
	return filepath.Join(append([]string{string(d)}, elements...)...)
}

// Kubeconfig is the administrator's.
func (d Dir) Kubeconfig() string { return d.path("kubeconfig") }

// Ready exists while everything answers.
func (d Dir) Ready() string { return d.path("ready") }

// Socket is what the subcommands talk to.
func (d Dir) Socket() string { return d.path("control.sock") }

// Audit is the API server's audit log; rotated files lie beside it.
func (d Dir) Audit() string { return d.path("audit.log") }

// AuditPolicy tells the API server what to write there.
func (d Dir) AuditPolicy() string { return d.path("pki", "audit-policy.yaml") }

// EtcdData is etcd's data directory.
func (d Dir) EtcdData() string { return d.path("etcd") }

// PKI is a file among the certificates and keys.
func (d Dir) PKI(file string) string { return d.path("pki", file) }

// ComponentKubeconfig is what a component of the control plane authenticates with.
func (d Dir) ComponentKubeconfig(name component.Name) string {
	return d.path("pki", string(name)+".kubeconfig")
}

// Log is a component's log.
func (d Dir) Log(name component.Name) string { return d.path("logs", string(name)+".log") }

// Lock takes ownership, or returns ErrInUse at once. Closing the file, or the end of the process, gives it up.
func (d Dir) Lock() (*os.File, error) {
	file, err := os.Open(string(d))
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", d, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", d, err)
	}
	return file, nil
}

// Write replaces a file atomically: readers see the old content or the new, never half of it.
func Write(path string, content []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(mode), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
