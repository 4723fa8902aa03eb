package main

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-csi/berth/e2e/harness"
)

func selectorOf(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func withAttributes(name string) []func(*corev1.PersistentVolumeClaim) {
	return claimOf(harness.WithAttributes(name))
}

// taken is a snapshot called "snap" of a claim called "source".
func taken(edits ...func(*harness.Snapshot)) []ingredient {
	return []ingredient{source(), snapshot("snap", "source", edits...)}
}

// takenOfBlock is taken, of a claim for a block volume.
func takenOfBlock(edits ...func(*harness.Snapshot)) []ingredient {
	return []ingredient{source(harness.Block), snapshot("snap", "source", edits...)}
}

func restoreCases() []testCase {
	restored := claimOf(harness.FromSnapshot("snap"))
	restoredAsBlock := claimOf(harness.FromSnapshot("snap"), harness.Block)
	return []testCase{
		{name: "restore", with: taken(), claim: restored},
		{name: "restore, named by reference", with: taken(), claim: claimOf(harness.From(harness.SnapshotSource("", "snap")))},
		{name: "restore to a larger volume", with: taken(), claim: claimOf(harness.FromSnapshot("snap"), harness.Size("2Gi"))},
		{name: "restore to a smaller volume", with: taken(harness.SnapshotRestoreSize("2Gi")), claim: restored, expect: refused},
		{name: "restore, size not known", with: taken(harness.SnapshotRestoreSize("")), claim: restored},
		{name: "restore of a block volume", with: takenOfBlock(), claim: restoredAsBlock},
		{name: "restore as block", with: taken(), claim: restoredAsBlock, expect: refused},
		{name: "restore of block as a file system", with: takenOfBlock(), claim: restored, expect: refused},
		{name: "restore as block, change allowed", with: taken(harness.SnapshotModeChange("true")), claim: restoredAsBlock},
		{name: "restore as block, change not allowed", with: taken(harness.SnapshotModeChange("false")), claim: restoredAsBlock, expect: refused},
		{name: "restore as block, permission not understood", with: taken(harness.SnapshotModeChange("perhaps")), claim: restoredAsBlock, expect: refused},
		{name: "restore as block, mode not known", with: taken(harness.SnapshotMode("")), claim: restoredAsBlock},
		{name: "restore, snapshot missing", claim: restored, expect: refused},
		{name: "restore, snapshot not ready", with: taken(harness.SnapshotNotReady), claim: restored, expect: refused},
		{name: "restore, snapshot without status", with: taken(harness.SnapshotWithoutStatus), claim: restored, expect: refused},
		{name: "restore, snapshot not bound", with: taken(harness.SnapshotUnbound), claim: restored, expect: refused},
		{name: "restore, snapshot without handle", with: taken(harness.SnapshotWithoutHandle), claim: restored, expect: refused},
		{name: "restore, snapshot of another driver", with: taken(harness.SnapshotOfDriver("other.csi.example.com")), claim: restored, expect: refused},
		{name: "restore, content of another snapshot", with: taken(harness.SnapshotOfAnother), claim: restored, expect: refused},
		{
			name: "restore, snapshot being deleted", claim: restored, expect: refused,
			with: append(taken(harness.SnapshotFinalizer("compare.berth.dev/held")), deleteSnapshot("snap")),
		},
		{
			name: "restore, snapshot deleted while the driver is busy", claim: restored, with: taken(),
			faults: fault("error", "Unavailable", 2), meanwhile: []ingredient{deleteSnapshot("snap")},
		},
		{
			name: "restore with secrets and parameters", claim: restored,
			with:  append(taken(), secret("credentials", "user")),
			class: classOf(parameters("tier", "gold", fsTypeKey, "xfs")),
		},
	}
}

func cloneCases() []testCase {
	cloned := claimOf(harness.FromClaim("source"))
	original := []ingredient{source()}
	return []testCase{
		{name: "clone", with: original, claim: cloned},
		{name: "clone, named by reference", with: original, claim: claimOf(harness.From(harness.ClaimSource("", "source")))},
		{name: "clone to a larger volume", with: original, claim: claimOf(harness.FromClaim("source"), harness.Size("2Gi"))},
		{name: "clone to a smaller volume", with: []ingredient{source(harness.Size("2Gi"))}, claim: cloned, expect: refused},
		{name: "clone of block", with: []ingredient{source(harness.Block)}, claim: claimOf(harness.FromClaim("source"), harness.Block)},
		{name: "clone as block", with: original, claim: claimOf(harness.FromClaim("source"), harness.Block), expect: refused},
		{name: "clone of block as a file system", with: []ingredient{source(harness.Block)}, claim: cloned, expect: refused},
		{
			name: "clone to another class", claim: cloned,
			with: []ingredient{class("other", parameters("tier", "silver")), sourceOf("other", "source")},
		},
		{name: "clone, source missing", claim: cloned, expect: refused},
		{
			name: "clone, source not bound", claim: cloned, expect: refused,
			with: []ingredient{class("later", harness.WaitForFirstConsumer), unbound("later", "source")},
		},
		{
			name: "clone, source deleted while the driver is busy", with: original, claim: cloned, expect: failed, patient: true,
			faults: fault("error", "Unavailable", 2), meanwhile: []ingredient{deleteClaim("source")},
		},
		{name: "clone, source being deleted", with: append(original, holdClaim("source")), claim: cloned, expect: refused},
	}
}

func otherSourceCases() []testCase {
	return []testCase{
		{
			name: "populator", expect: quiet,
			claim: claimOf(harness.From(harness.Source{Group: "example.com", Kind: "Recipe", Name: "cake"})),
		},
		{
			name: "VolumeSnapshot of another group", expect: refused, with: taken(),
			claim: claimOf(harness.From(harness.Source{Group: "example.com", Kind: "VolumeSnapshot", Name: "snap"})),
		},
		{
			name: "PersistentVolumeClaim of another group", with: []ingredient{source()},
			claim: claimOf(harness.From(harness.Source{Group: "example.com", Kind: "PersistentVolumeClaim", Name: "source"})),
		},
		{
			name: "snapshot of another namespace", expect: refused, with: []ingredient{elsewhere(taken()...)},
			claim: claimOf(harness.From(harness.SnapshotSource(elsewhereName, "snap"))),
		},
	}
}

func conversionCases() []testCase {
	return []testCase{
		{name: "restore as block", with: taken(), claim: claimOf(harness.FromSnapshot("snap"), harness.Block)},
		{name: "restore of block as a file system", with: takenOfBlock(), claim: claimOf(harness.FromSnapshot("snap"))},
	}
}

func crossNamespaceCases() []testCase {
	fromThere := claimOf(harness.From(harness.SnapshotSource(elsewhereName, "snap")))
	granted := func(permits harness.Grant) []ingredient {
		return []ingredient{elsewhere(append(taken(), grant(permits))...)}
	}
	snapshots := harness.Grant{Group: harness.SnapshotGroup, Kind: "VolumeSnapshot"}
	with := func(edit func(*harness.Grant)) harness.Grant {
		permits := snapshots
		edit(&permits)
		return permits
	}
	return []testCase{
		{name: "snapshot, granted", with: granted(snapshots), claim: fromThere},
		{name: "snapshot, granted by name", with: granted(with(func(g *harness.Grant) { g.Name = "snap" })), claim: fromThere},
		{name: "snapshot, granted by another name", with: granted(with(func(g *harness.Grant) { g.Name = "other" })), claim: fromThere, expect: refused},
		{name: "snapshot, granted to another namespace", with: granted(with(func(g *harness.Grant) { g.From = "other" })), claim: fromThere, expect: refused},
		{name: "snapshot, another kind granted", with: granted(harness.Grant{Kind: "PersistentVolumeClaim"}), claim: fromThere, expect: refused},
		{name: "snapshot, not granted", with: []ingredient{elsewhere(taken()...)}, claim: fromThere, expect: refused},
		{
			name: "claim, granted", claim: claimOf(harness.From(harness.ClaimSource(elsewhereName, "source"))),
			with: []ingredient{elsewhere(source(), grant(harness.Grant{Kind: "PersistentVolumeClaim"}))},
		},
		{
			name: "claim, not granted", claim: claimOf(harness.From(harness.ClaimSource(elsewhereName, "source"))), expect: refused,
			with: []ingredient{elsewhere(source())},
		},
		{name: "snapshot of this namespace, named in full", with: taken(), claim: claimOf(harness.From(harness.SnapshotSource(thisNamespace, "snap")))},
		{name: "restore", with: taken(), claim: claimOf(harness.FromSnapshot("snap"))},
	}
}
