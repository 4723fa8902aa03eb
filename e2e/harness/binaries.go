package harness

import (
	"fmt"
	"os"
	"path/filepath"
)

// BinDirVariable names the environment variable that says where the binaries are.
const BinDirVariable = "BERTH_BIN_DIR"

// The binaries the harness runs, and the make target that builds each.
const (
	berthBinary        = "berth"
	controlPlaneBinary = "controlplane"
	driverBinary       = "poold"
)

// Binary returns the path of one of the project's binaries: in $BERTH_BIN_DIR if that is set, else in the nearest bin
// directory that holds it, from the working directory upwards.
func Binary(name string) (string, error) {
	if dir := os.Getenv(BinDirVariable); dir != "" {
		path := filepath.Join(dir, name)
		if !isExecutable(path) {
			return "", fmt.Errorf("no %s in %s=%s: run %q", name, BinDirVariable, dir, buildTarget(name))
		}
		return filepath.Abs(path)
	}
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if path := filepath.Join(dir, "bin", name); isExecutable(path) {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no bin/%s in %s or above it: run %q, or set %s", name, start, buildTarget(name), BinDirVariable)
		}
	}
}

// CheckBinaries says which of the three binaries are missing, and how to build them.
func CheckBinaries() error {
	for _, name := range []string{berthBinary, controlPlaneBinary, driverBinary} {
		if _, err := Binary(name); err != nil {
			return err
		}
	}
	return nil
}

func buildTarget(name string) string {
	switch name {
	case controlPlaneBinary, driverBinary, "kubectl":
		return "make e2e-bins"
	case "helm3", "helm4":
		return "make chart-tools"
	default:
		return "make build"
	}
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
