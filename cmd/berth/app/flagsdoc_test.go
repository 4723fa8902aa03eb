package app

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/flags.md anew")

const (
	flagsDocument = "../../../docs/flags.md"

	flagsBefore = `# Flags

Made from the program by ` + "`make update-flags`" + `; ` + "`berth --help`" + ` says the same. What differs from csi-provisioner on purpose, and why, is in
[operating.md](operating.md#flags).
`
	flagsAfter = `
## Environment variables

| variable | |
|---|---|
| KUBECONFIG | takes the place of --kubeconfig, if it is set |
| POD_NAMESPACE | the namespace of the Lease and the journal, without --leader-election-namespace. Without either it is the service account's, or else "default" |
| NAMESPACE | the namespace of CSIStorageCapacity objects, with --enable-capacity. Without it it is found like that of the Lease, but for the flag |
| POD_NAME | the Pod from which the owner of those objects is found, with --enable-capacity; needed unless --capacity-ownerref-level is -1 |
| NODE_NAME | the node that this process is for; needed with --node-deployment |
`
)

// documented are all flags, as docs/flags.md has them.
func documented(t *testing.T) string {
	t.Helper()
	options, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString(flagsBefore)
	sections := options.Flags()
	for _, name := range sections.Order {
		fmt.Fprintf(&text, "\n## %s\n\n| flag | default | |\n|---|---|---|\n", name)
		sections.FlagSets[name].VisitAll(func(flag *pflag.Flag) {
			typed := "--" + flag.Name
			if flag.Shorthand != "" {
				typed = "-" + flag.Shorthand + ", " + typed
			}
			initial := flag.DefValue
			if initial != "" {
				initial = "`" + initial + "`"
			}
			usage := strings.NewReplacer("\n", " ", "|", "\\|", "<", "\\<").Replace(flag.Usage)
			fmt.Fprintf(&text, "| `%s` | %s | %s |\n", typed, initial, usage)
		})
	}
	text.WriteString(flagsAfter)
	return text.String()
}

func TestEveryFlagIsDocumented(t *testing.T) {
	want := documented(t)
	if *update {
		if err := os.WriteFile(flagsDocument, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(flagsDocument)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/flags.md is not what the program says, run make update-flags: %s", diff)
	}
}

// A group that does not fit a screen is not read.
func TestEachGroupOfFlagsFitsAScreen(t *testing.T) {
	const lines = 50
	options, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	sections := options.Flags()
	for _, name := range sections.Order {
		if got := strings.Count(sections.FlagSets[name].FlagUsagesWrapped(200), "\n"); got > lines {
			t.Errorf("%s takes %d lines of 200 columns, more than %d", name, got, lines)
		}
	}
}

// What /flagz shows anybody may see. A flag whose value is a secret must not be among them.
func TestNoFlagHoldsASecret(t *testing.T) {
	known := map[string]string{
		"admission-secret":           "the name of a Secret",
		"admission-key-file":         "a path",
		"http-key-file":              "a path",
		"admission-certificate-file": "a path",
	}
	options, err := NewOptions()
	if err != nil {
		t.Fatal(err)
	}
	sections := options.Flags()
	for _, set := range sections.FlagSets {
		set.VisitAll(func(flag *pflag.Flag) {
			for _, word := range []string{"token", "password", "secret", "credential", "key"} {
				if strings.Contains(flag.Name, word) && known[flag.Name] == "" {
					t.Errorf("does --%s hold a secret? Keep it from /flagz, or say here what it is", flag.Name)
				}
			}
		})
	}
}

func TestShowable(t *testing.T) {
	for value, want := range map[string]string{
		"":                                 "",
		"10s":                              "10s",
		"/run/csi/socket":                  "/run/csi/socket",
		"https://api:6443":                 "https://api:6443",
		"https://admin:letmein@api:6443/x": "https://admin:xxxxx@api:6443/x",
		"%zz":                              "%zz",
	} {
		if got := showable(value); got != want {
			t.Errorf("%q is shown as %q, want %q", value, got, want)
		}
	}
}
