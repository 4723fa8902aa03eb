package datasource

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestResolve(t *testing.T) {
	group := new(snapshotv1.GroupName)
	snapshot := Reference{Kind: Snapshot, Namespace: "ns", Name: "snap", Group: snapshotv1.GroupName, ResourceKind: "VolumeSnapshot"}
	elsewhere := func(namespace string) Reference {
		reference := snapshot
		reference.Namespace, reference.CrossNamespace = namespace, true
		return reference
	}
	clone := Reference{Kind: Clone, Namespace: "ns", Name: "source", ResourceKind: "PersistentVolumeClaim"}
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  Reference
	}{
		"no data source":                     {makeClaim(), Reference{}},
		"a snapshot":                         {makeClaim(dataSource(group, "VolumeSnapshot", "snap")), snapshot},
		"a snapshot in the newer field":      {makeClaim(dataSourceRef(group, "VolumeSnapshot", "snap", nil)), snapshot},
		"an empty namespace is none":         {makeClaim(dataSourceRef(group, "VolumeSnapshot", "snap", new(""))), snapshot},
		"a snapshot in another namespace":    {makeClaim(dataSourceRef(group, "VolumeSnapshot", "snap", new("far"))), elsewhere("far")},
		"its own namespace, given":           {makeClaim(dataSourceRef(group, "VolumeSnapshot", "snap", new("ns"))), elsewhere("ns")},
		"both fields: the older one counts":  {makeClaim(dataSource(group, "VolumeSnapshot", "snap"), dataSourceRef(nil, "X", "x", new("far"))), snapshot},
		"a claim":                            {makeClaim(dataSource(nil, "PersistentVolumeClaim", "source")), clone},
		"a claim, with the core group given": {makeClaim(dataSource(new(""), "PersistentVolumeClaim", "source")), clone},
		"a claim of some other API": {makeClaim(dataSource(new("example.com"), "PersistentVolumeClaim", "x")),
			Reference{Kind: Populator, Namespace: "ns", Name: "x", Group: "example.com", ResourceKind: "PersistentVolumeClaim"}},
		"anything else": {makeClaim(dataSourceRef(new("example.com"), "Backup", "x", new("far"))),
			Reference{Kind: Populator, Namespace: "far", Name: "x", Group: "example.com", ResourceKind: "Backup", CrossNamespace: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, verdict := Resolve(tt.claim)
			if verdict != allow() {
				t.Errorf("verdict is %s", sketch(verdict))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolveDeniesWhatNobodyCouldFollow(t *testing.T) {
	tests := map[string]struct {
		claim *corev1.PersistentVolumeClaim
		want  string
	}{
		"no claim":                    {nil, "unknown NoClaim"},
		"no name":                     {makeClaim(dataSource(nil, "PersistentVolumeClaim", "")), `deny InvalidDataSource: the claim's data source of kind "PersistentVolumeClaim" has no name`},
		"no name, of any kind":        {makeClaim(dataSourceRef(new("example.com"), "Backup", "", nil)), `deny InvalidDataSource: the claim's data source of kind "Backup" has no name`},
		"a snapshot of no group":      {makeClaim(dataSource(nil, "VolumeSnapshot", "snap")), `deny InvalidDataSource: the claim's data source VolumeSnapshot "snap" is of API group ""`},
		"a snapshot of another group": {makeClaim(dataSource(new("example.com"), "VolumeSnapshot", "snap")), `deny InvalidDataSource: the claim's data source VolumeSnapshot "snap" is of API group "example.com"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, verdict := Resolve(tt.claim)
			if got := sketch(verdict); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestReferencesAreText(t *testing.T) {
	populator := Reference{Kind: Populator, Namespace: "ns", Name: "x", Group: "example.com", ResourceKind: "Backup"}
	core := populator
	core.Group, core.ResourceKind = "", "Pod"
	tests := map[string]string{
		Reference{}.String(): "no data source",
		Reference{Kind: Snapshot, Namespace: "ns", Name: "x"}.String(): "VolumeSnapshot ns/x",
		Key{Clone, "ns", "x"}.String():                                 "PersistentVolumeClaim ns/x",
		populator.String():                                             "Backup.example.com ns/x",
		core.String():                                                  "Pod ns/x",
		populator.Key().String():                                       "volume populator ns/x",
		Kind(99).String():                                              "invalid",
		Decision(99).String():                                          "invalid",
	}
	for got, want := range tests {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestClaimsOfOneSourceHaveOneKey(t *testing.T) {
	near, _ := Resolve(makeClaim(dataSource(new(snapshotv1.GroupName), "VolumeSnapshot", "snap")))
	far, _ := Resolve(makeClaim(dataSourceRef(new(snapshotv1.GroupName), "VolumeSnapshot", "snap", new("ns")),
		func(claim *corev1.PersistentVolumeClaim) { claim.Namespace = "far" }))
	claims := map[Key]int{}
	claims[near.Key()]++
	claims[far.Key()]++
	clone, _ := Resolve(makeClaim(dataSource(nil, "PersistentVolumeClaim", "snap")))
	claims[clone.Key()]++
	if diff := cmp.Diff(map[Key]int{{Snapshot, "ns", "snap"}: 2, {Clone, "ns", "snap"}: 1}, claims); diff != "" {
		t.Error(diff)
	}
}
