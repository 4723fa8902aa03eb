package main

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestEveryCaseHasNamesOfItsOwn(t *testing.T) {
	titles, slugs := map[string]bool{}, map[string]string{}
	for _, g := range allGroups() {
		if len(g.cases) == 0 {
			t.Errorf("group %q has no cases", g.name)
		}
		for _, c := range g.cases {
			this := title(g.name, c.name)
			if titles[this] {
				t.Errorf("two cases are called %q", this)
			}
			titles[this] = true
			name := slug(g.name, c.name)
			if other, ok := slugs[name]; ok {
				t.Errorf("%q and %q would share namespace %s", this, other, name)
			}
			slugs[name] = this
			// Names are made longer by what ingredients add.
			if errs := validation.IsDNS1123Label(name + "-second"); len(errs) > 0 {
				t.Errorf("namespace %s of %q: %v", name, this, errs)
			}
		}
	}
	if len(titles) < 60 {
		t.Errorf("%d cases, want 60 or more", len(titles))
	}
}

func TestDriverOfEveryGroupHasAConfiguration(t *testing.T) {
	for _, g := range allGroups() {
		text, err := g.driver.yaml()
		if err != nil || text == "" {
			t.Errorf("group %q: %q, %v", g.name, text, err)
		}
	}
}

func TestCasesArePicked(t *testing.T) {
	groups := []group{
		{name: "one", cases: []testCase{{name: "clone"}, {name: "restore"}}},
		{name: "two", cases: []testCase{{name: "restore"}}},
	}
	for name, test := range map[string]struct {
		pattern string
		want    []string
	}{
		"a whole group":        {`^one:`, []string{"one: clone", "one: restore"}},
		"a case of each":       {`restore`, []string{"one: restore", "two: restore"}},
		"one case":             {`^two: restore$`, []string{"two: restore"}},
		"nothing fits":         {`^three`, nil},
		"groups that drop out": {`clone`, []string{"one: clone"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, g := range picked(groups, regexp.MustCompile(test.pattern)) {
				for _, c := range g.cases {
					got = append(got, title(g.name, c.name))
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if len(groups[0].cases) != 2 {
		t.Error("picking changed the groups")
	}
}
