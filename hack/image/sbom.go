package main

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// unknown is SPDX's word for what the author of a document does not claim to know.
const unknown = "NOASSERTION"

// bill lists what is in the image, as SPDX 2.3: the image contains a program for each platform, and a program depends on modules. Modules are those
// that the linker took from, as the Go command records them in the program; go.mod may name more.
func bill(o options, programs []program, image v1.Hash) ([]byte, error) {
	const root = "Image"
	b := &billing{packages: map[string]*v2_3.Package{}}
	b.add(root, &v2_3.Package{
		PackageName:               o.Title,
		PackageVersion:            o.Version,
		PrimaryPackagePurpose:     "CONTAINER",
		PackageLicenseDeclared:    o.Licenses,
		PackageChecksums:          []common.Checksum{{Algorithm: common.SHA256, Value: image.Hex}},
		PackageExternalReferences: purl("pkg:oci/" + o.Title + "@" + url.QueryEscape(image.String())),
	})
	b.relate("DOCUMENT", common.TypeRelationshipDescribe, root)
	for _, p := range programs {
		main := p.Info.Main
		id := "Program-" + p.Platform.OS + "-" + p.Platform.Architecture
		b.add(id, &v2_3.Package{
			PackageName:            p.Info.Path,
			PackageVersion:         o.Version,
			PackageFileName:        "/" + p.Name,
			PrimaryPackagePurpose:  "APPLICATION",
			PackageLicenseDeclared: o.Licenses,
			PackageSourceInfo:      "built for " + p.Platform.String() + " from commit " + orUnknown(o.Revision),
			PackageChecksums:       []common.Checksum{{Algorithm: common.SHA256, Value: p.SHA256}},
			PackageExternalReferences: purl("pkg:golang/" + main.Path + "@" + url.QueryEscape(o.Version) +
				"?goarch=" + p.Platform.Architecture + "&goos=" + p.Platform.OS + subpath(p.Info.Path, main.Path)),
		})
		b.relate(root, common.TypeRelationshipContains, id)
		b.relate(id, common.TypeRelationshipDependsOn, b.module(&debug.Module{Path: "stdlib", Version: strings.TrimPrefix(p.Info.GoVersion, "go")}))
		for _, module := range p.Info.Deps {
			if module.Replace != nil {
				module = module.Replace
			}
			b.relate(id, common.TypeRelationshipDependsOn, b.module(module))
		}
	}
	document := &v2_3.Document{
		SPDXVersion:    v2_3.Version,
		DataLicense:    v2_3.DataLicense,
		SPDXIdentifier: "DOCUMENT",
		DocumentName:   o.Name.String(),
		// Nobody has to find something there, but no other document may have the same (6.5 Document namespace).
		DocumentNamespace: "https://spdx.org/spdxdocs/" + o.Title + "-" + image.Hex,
		CreationInfo: &v2_3.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "hack/image"}},
			Created:  o.Created.Format(time.RFC3339),
		},
		Packages:      b.sorted(),
		Relationships: b.relations,
	}
	var text bytes.Buffer
	if err := json.Write(document, &text, json.Indent("  ")); err != nil {
		return nil, fmt.Errorf("list of contents: %w", err)
	}
	return text.Bytes(), nil
}

// billing gathers packages, each once.
type billing struct {
	packages  map[string]*v2_3.Package
	relations []*v2_3.Relationship
}

func (b *billing) add(id string, p *v2_3.Package) {
	p.PackageSPDXIdentifier = common.ElementID(id)
	p.PackageDownloadLocation = unknown
	p.PackageLicenseConcluded = unknown
	p.PackageLicenseDeclared = orUnknown(p.PackageLicenseDeclared)
	p.PackageCopyrightText = unknown
	p.PackageSupplier = &common.Supplier{Supplier: unknown}
	b.packages[id] = p
}

// notInID is what an identifier of SPDX may not contain (7.2 Package SPDX identifier).
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// module adds one, unless it is there, and returns its identifier.
func (b *billing) module(m *debug.Module) string {
	id := notInID.ReplaceAllString("Module-"+m.Path+"-"+m.Version, "-")
	p := &v2_3.Package{
		PackageName:               m.Path,
		PackageVersion:            m.Version,
		PrimaryPackagePurpose:     "LIBRARY",
		PackageExternalReferences: purl("pkg:golang/" + m.Path + "@" + url.QueryEscape(m.Version)),
	}
	if m.Sum != "" {
		p.PackageSourceInfo = "go.sum: " + m.Sum
	}
	if b.packages[id] == nil {
		b.add(id, p)
	}
	return id
}

func (b *billing) relate(from, how, to string) {
	b.relations = append(b.relations, &v2_3.Relationship{
		RefA: common.MakeDocElementID("", from), RefB: common.MakeDocElementID("", to), Relationship: how,
	})
}

func (b *billing) sorted() []*v2_3.Package {
	var all []*v2_3.Package
	for _, p := range b.packages {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *v2_3.Package) int {
		return strings.Compare(string(a.PackageSPDXIdentifier), string(b.PackageSPDXIdentifier))
	})
	return all
}

// purl is the reference by which databases of vulnerabilities know a package.
func purl(locator string) []*v2_3.PackageExternalReference {
	return []*v2_3.PackageExternalReference{{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: locator}}
}

// subpath is where in its module a package is, as a package URL has it.
func subpath(pkg, module string) string {
	if inside, ok := strings.CutPrefix(pkg, module+"/"); ok {
		return "#" + inside
	}
	return ""
}

func orUnknown(text string) string {
	if text == "" {
		return unknown
	}
	return text
}
