package datasource

import (
	snapshotv1 "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	corev1 "k8s.io/api/core/v1"
	gatewayv1beta1 "sigs.k8s.io/gateway-api/apis/v1beta1"
)

// Capabilities are what a driver can do with sources.
type Capabilities struct {
	Snapshot bool // CREATE_DELETE_SNAPSHOT
	Clone    bool // CLONE_VOLUME
}

// Facts is everything that decides whether a claim's volume may be made from its source. Objects may be an informer's: they are read,
// never changed. The caller knows the first group of fields, Reader.Gather finds the rest.
type Facts struct {
	Claim                 *corev1.PersistentVolumeClaim
	Reference             Reference    // as Resolve returned it
	Driver                string       // CSI name of the driver of the claim's class
	Capabilities          Capabilities // of that driver
	CrossNamespace        bool         // feature gate CrossNamespaceVolumeDataSource
	PreventModeConversion bool         // --prevent-volume-mode-conversion

	SnapshotsServed bool                              // the VolumeSnapshot API exists
	GrantsServed    bool                              // the ReferenceGrant API exists
	Grants          []*gatewayv1beta1.ReferenceGrant  // of the source's namespace
	Snapshot        *snapshotv1.VolumeSnapshot        // nil: it does not exist
	Content         *snapshotv1.VolumeSnapshotContent // that the snapshot is bound to; nil: it does not exist
	SourceClaim     *corev1.PersistentVolumeClaim     // whole, not as an informer trims it; nil: it does not exist
	SourceVolume    *corev1.PersistentVolume          // that the source claim is bound to; nil: it does not exist
}

// Check is one rule.
type Check func(Facts) Verdict

// Judge runs the checks for the reference's kind of source in their order, and returns the first verdict that is not Allow. It is total:
// every combination of facts has a verdict.
func Judge(facts Facts) Verdict { return first(facts, chain(facts.Reference.Kind)) }

func first(facts Facts, checks []Check) Verdict {
	for _, check := range checks {
		if verdict := check(facts); verdict.Decision != Allow {
			return verdict
		}
	}
	return allow()
}

// chain is the order of checks. A source in another namespace is not looked at before that is permitted, so that no message tells whether
// it exists; what the driver cannot do comes before what the source is like. After that each check may rely on those before it.
func chain(kind Kind) []Check {
	switch kind {
	case None:
		return nil
	case Snapshot:
		return []Check{
			claimKnown, namespaceEnabled, namespaceGranted, snapshotsSupported,
			snapshotExists, snapshotStays, snapshotBound, contentExists, contentMatches, contentOfDriver,
			snapshotReady, snapshotNamed, snapshotFits, modeKept,
		}
	case Clone:
		return []Check{
			claimKnown, namespaceEnabled, namespaceGranted, clonesSupported,
			sourceExists, sourceBound, sourceStays, classesNamed, sourceFits,
			volumeExists, volumeOfDriver, volumeMatches, volumeBound, modeSame,
		}
	case Populator:
	}
	return []Check{populated}
}

func claimKnown(facts Facts) Verdict {
	if facts.Claim == nil {
		return noClaim()
	}
	return allow()
}

func noClaim() Verdict {
	return unknown(ReasonNoClaim, "the claim is gone, or was not read yet: there is nothing to judge")
}

// populated leaves a claim to its volume populator: neither is it refused, nor is a volume made for it.
func populated(facts Facts) Verdict {
	return unknown(ReasonVolumePopulator, "the claim's volume is expected from a volume populator for "+facts.Reference.String()+
		": install one if there is none")
}

// Source is what a volume is made from, as the driver knows it (CSI spec, VolumeContentSource). At most one handle is set; none means an
// empty volume.
type Source struct {
	SnapshotHandle string
	VolumeHandle   string
}

// SourceOf returns what to name to the driver. It is valid for facts that Judge allowed.
func SourceOf(facts Facts) Source {
	switch facts.Reference.Kind {
	case Snapshot:
		return Source{SnapshotHandle: handleOf(facts.Content)}
	case Clone:
		if csi := csiOf(facts.SourceVolume); csi != nil {
			return Source{VolumeHandle: csi.VolumeHandle}
		}
	case None, Populator:
	}
	return Source{}
}
