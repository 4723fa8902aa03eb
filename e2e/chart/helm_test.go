package chart

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	chartDir  = "../../charts/berth"
	release   = "pool"
	namespace = "storage"
)

// majors are Helm's, by the name of the binary.
func majors() []string { return []string{"helm3", "helm4"} }

// binary is the absolute path of what make built.
func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run it as make test-chart, which builds it", err)
	}
	return path
}

// run runs a binary of ours, without what the user's own Helm is set up for.
func run(t *testing.T, name string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	home := t.TempDir()
	var out, errs bytes.Buffer
	command := exec.CommandContext(t.Context(), binary(t, name), args...)
	command.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	command.Stdout, command.Stderr = &out, &errs
	err = command.Run()
	return out.String(), errs.String(), err
}

// printed is what Helm has printed before, by its arguments: many tests look at the same.
var printed sync.Map

// template renders the chart with values, and returns what Helm prints.
func template(t *testing.T, helm, values string, args ...string) string {
	t.Helper()
	args = templateArgs(values, args)
	key := helm + " " + strings.Join(args, " ")
	if before, ok := printed.Load(key); ok {
		return before.(string)
	}
	stdout, stderr, err := run(t, helm, args...)
	if err != nil {
		t.Fatalf("%s template: %v\n%s", helm, err, stderr)
	}
	printed.Store(key, stdout)
	return stdout
}

// refused renders the chart with values that it must refuse, and returns what Helm says.
func refused(t *testing.T, helm, values string, args ...string) string {
	t.Helper()
	stdout, stderr, err := run(t, helm, templateArgs(values, args)...)
	if err == nil {
		t.Fatalf("%s template: it was rendered\n%s", helm, stdout)
	}
	return stderr
}

func templateArgs(values string, args []string) []string {
	return append([]string{"template", release, chartDir, "--namespace", namespace, "--values", values}, args...)
}

// valuesFile writes values that are added to the least that the chart needs.
func valuesFile(t *testing.T, values string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// leastValues are all that the chart needs to know.
const leastValues = "testdata/values/default.yaml"

// modes are the sets of values in testdata/values.
func modes(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = file
	}
	return all
}
