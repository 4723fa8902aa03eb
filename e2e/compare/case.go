package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

// An outcome is what became of a claim.
type outcome string

const (
	// bound: the claim has a volume.
	bound outcome = "bound"
	// refused: the provisioner says that it will not, and has not asked the driver.
	refused outcome = "refused"
	// failed: the driver was asked, and the provisioner says that it did not work out.
	failed outcome = "failed"
	// quiet: nothing happened, and nobody said a word.
	quiet outcome = "quiet"
	// silent: the driver was asked, it did not work out, and nobody said a word.
	silent outcome = "failed without a word"
	// died: the provisioner's process ended.
	died outcome = "the process ended"
)

// A group is the cases that share a driver and a command line, and so are run in one life of both.
type group struct {
	name string
	// driver it is about: its name, its pools and its nodes.
	driver driverSpec
	// flags of both provisioners.
	flags []string
	cases []testCase
}

// A testCase is one claim, or a few alike, with the objects it needs. Everything has the same names for both subjects, so
// that what follows from names is the same too.
type testCase struct {
	name string
	// with is made before the claims, in this order.
	with []ingredient
	// class of the claims, unless they have none; Immediate binding, reclaim policy Delete. withoutClass names one
	// that does not exist.
	class        []func(*storagev1.StorageClass)
	withoutClass bool
	// claims by name; empty is one called "data".
	claims []string
	claim  []func(*corev1.PersistentVolumeClaim)
	// podOn is the node that a Pod is forced on which uses the claims; empty is no Pod.
	podOn string
	// faults of the driver while the claims are provisioned. A case with faults has the driver for itself.
	faults []harness.Fault
	// until is the number of CreateVolume calls to see before looking.
	until int
	// meanwhile is done when the driver has been asked once.
	meanwhile []ingredient
	// then is done before the claims are deleted.
	then []ingredient
	// expect is what becomes of the claims with the established provisioner; empty is bound.
	expect outcome
	// patient waits a while for what has failed: it may be bound in the end, and is expected not to be.
	patient bool
}

// An ingredient prepares something in a case's namespace.
type ingredient func(context.Context, *stage) error

func (c testCase) claimNames() []string {
	if len(c.claims) == 0 {
		return []string{"data"}
	}
	return c.claims
}

func (c testCase) expected() outcome {
	if c.expect == "" {
		return bound
	}
	return c.expect
}

// alone reports whether nothing else may happen meanwhile.
func (c testCase) alone() bool { return len(c.faults) > 0 }

// slug is the name of the case's namespace and class. It is unique, which a test checks.
func slug(groupName, caseName string) string {
	words := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(groupName+"-"+caseName), "-")
	return strings.Trim(words[:min(len(words), 55)], "-")
}

// title is how a case is picked and reported.
func title(groupName, caseName string) string { return groupName + ": " + caseName }

// picked are the groups with the cases that the pattern picks, without those of which it picks none.
func picked(groups []group, pattern *regexp.Regexp) []group {
	if pattern == nil {
		return groups
	}
	var some []group
	for _, g := range groups {
		g.cases = slices.DeleteFunc(slices.Clone(g.cases), func(c testCase) bool {
			return !pattern.MatchString(title(g.name, c.name))
		})
		if len(g.cases) > 0 {
			some = append(some, g)
		}
	}
	return some
}

func countCases(groups []group) int {
	n := 0
	for _, g := range groups {
		n += len(g.cases)
	}
	return n
}

func list(w io.Writer, groups []group) error {
	for _, g := range groups {
		for _, c := range g.cases {
			if _, err := fmt.Fprintln(w, title(g.name, c.name)); err != nil {
				return err
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d cases in %d groups\n", countCases(groups), len(groups))
	return err
}
