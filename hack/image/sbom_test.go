package main

import (
	"bytes"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"
)

func readBill(t *testing.T, m made) *spdx.Document {
	t.Helper()
	document, err := json.Read(bytes.NewReader(m.list))
	if err != nil {
		t.Fatal(err)
	}
	if err := spdxlib.ValidateDocument(document); err != nil {
		t.Error(err)
	}
	return document
}

// related returns the names and versions of packages that one is related to.
func related(document *spdx.Document, from spdx.ElementID, how string) map[string]string {
	packages := map[spdx.ElementID]*spdx.Package{}
	for _, p := range document.Packages {
		packages[p.PackageSPDXIdentifier] = p
	}
	names := map[string]string{}
	for _, r := range document.Relationships {
		if r.RefA.ElementRefID == from && r.Relationship == how {
			p := packages[r.RefB.ElementRefID]
			names[p.PackageName] = p.PackageVersion
		}
	}
	return names
}

func TestEveryModuleOfTheProgramIsListedWithItsVersion(t *testing.T) {
	this := thisProgram(t)
	document := readBill(t, makeArchive(t, asked(t), this))
	want := map[string]string{"stdlib": strings.TrimPrefix(this.Info.GoVersion, "go")}
	for _, module := range this.Info.Deps {
		want[module.Path] = module.Version
	}
	if want["github.com/google/go-containerregistry"] == "" {
		t.Fatal("the program says nothing of what it was built from, so this test shows nothing")
	}
	program := spdx.ElementID("Program-linux-" + this.Platform.Architecture)
	if diff := cmp.Diff(want, related(document, program, "DEPENDS_ON")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"github.com/berth-csi/berth/hack/image": "1.2.3"}, related(document, "Image", "CONTAINS")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"berth": "1.2.3"}, related(document, "DOCUMENT", "DESCRIBES")); diff != "" {
		t.Error(diff)
	}
}

func TestScannersFindModulesAndChecksums(t *testing.T) {
	this := thisProgram(t)
	m := makeArchive(t, asked(t), this)
	locators, checksums := map[string]string{}, map[string]string{}
	for _, p := range readBill(t, m).Packages {
		locators[p.PackageName] = p.PackageExternalReferences[0].Locator
		for _, checksum := range p.PackageChecksums {
			checksums[p.PackageName] = checksum.Value
		}
	}
	i := slices.IndexFunc(this.Info.Deps, func(m *debug.Module) bool { return m.Path == "github.com/spdx/tools-golang" })
	if i < 0 {
		t.Fatal("the program says nothing of what it was built from, so this test shows nothing")
	}
	for name, want := range map[string]string{
		"github.com/spdx/tools-golang":          "pkg:golang/github.com/spdx/tools-golang@" + this.Info.Deps[i].Version,
		"github.com/berth-csi/berth/hack/image": "pkg:golang/github.com/berth-csi/berth/hack/image@1.2.3?goarch=" + this.Platform.Architecture + "&goos=linux",
		"berth":                                 "pkg:oci/berth@sha256%3A" + m.built.Root.Digest.Hex,
	} {
		if got := locators[name]; got != want {
			t.Errorf("%s is known as %q, not %q", name, got, want)
		}
	}
	if diff := cmp.Diff(map[string]string{"berth": m.built.Root.Digest.Hex, "github.com/berth-csi/berth/hack/image": this.SHA256}, checksums); diff != "" {
		t.Error(diff)
	}
}

// TestModulesOfTwoPlatformsAreListedOnce: two programs depend on one package each.
func TestModulesOfTwoPlatformsAreListedOnce(t *testing.T) {
	this := thisProgram(t)
	one := readBill(t, makeArchive(t, asked(t), this))
	two := readBill(t, makeArchive(t, asked(t), this, onArm64(program{
		Name: this.Name, Content: this.Content, SHA256: this.SHA256, Info: this.Info,
	})))
	if this.Platform.Architecture == "arm64" {
		t.Skip("this machine's platform is the other one")
	}
	if got, want := len(two.Packages), len(one.Packages)+1; got != want {
		t.Errorf("%d packages, not %d: those of one platform and the other program", got, want)
	}
	if diff := cmp.Diff(related(one, "Program-linux-amd64", "DEPENDS_ON"), related(two, "Program-linux-arm64", "DEPENDS_ON")); diff != "" {
		t.Error(diff)
	}
}
