package main

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// A picture is what there is at one moment, as far as it has to agree. Its lists are in order, so that two of them can be
// compared.
type picture struct {
	Claims  []claimFact  // all that were ever created
	PVs     []pvFact     // in the API server
	Volumes []volumeFact // in the driver
}

// claimFact is a claim that was created.
type claimFact struct {
	Name string
	UID  types.UID
	// Deleted by us. Exists and Phase are what the API server says, Volume is the PV that the claim names.
	Deleted, Exists bool
	Phase           string
	Volume          string
}

// pvFact is a PersistentVolume.
type pvFact struct {
	Name, Handle string
	Claim        types.UID // that it is for
}

// volumeFact is a volume of the driver.
type volumeFact struct{ Handle, Name string }

// namePrefix is what every subject puts before the claim's UID to name its volume, unless told otherwise.
const namePrefix = "pvc-"

// claim is who the volume was made for, by its name.
func (v volumeFact) claim() types.UID { return types.UID(strings.TrimPrefix(v.Name, namePrefix)) }

// A verdict is what is wrong in a picture.
type verdict struct {
	Leaked          []volumeFact // no PV refers to it
	Doubled         []claimFact  // more than one volume was made for it and is still there
	Unbound         []claimFact  // not deleted, and not bound to a volume of its own
	PVWithoutVolume []pvFact     // the driver does not have it
	Lingering       []claimFact  // deleted, and still there
	Orphaned        []pvFact     // the PV of a claim that was deleted, or never was
}

// exact says that the driver's volumes are those of the PVs, and these those of the claims.
func (v verdict) exact() bool {
	return len(v.Leaked)+len(v.Doubled)+len(v.Unbound)+len(v.PVWithoutVolume)+len(v.Lingering)+len(v.Orphaned) == 0
}

// judge compares the three lists.
func judge(p picture) verdict {
	var v verdict
	inDriver := map[string]bool{}
	for _, volume := range p.Volumes {
		inDriver[volume.Handle] = true
	}
	referred := map[string]bool{}
	pvOf := map[string]pvFact{}
	for _, pv := range p.PVs {
		referred[pv.Handle] = true
		pvOf[pv.Name] = pv
		if !inDriver[pv.Handle] {
			v.PVWithoutVolume = append(v.PVWithoutVolume, pv)
		}
	}
	for _, volume := range p.Volumes {
		if !referred[volume.Handle] {
			v.Leaked = append(v.Leaked, volume)
		}
	}
	kept := map[types.UID]bool{}
	handles := handlesByClaim(p)
	for _, claim := range p.Claims {
		if len(handles[claim.UID]) > 1 {
			v.Doubled = append(v.Doubled, claim)
		}
		switch {
		case claim.Deleted && claim.Exists:
			v.Lingering = append(v.Lingering, claim)
		case !claim.Deleted:
			kept[claim.UID] = true
			if !claim.Exists || claim.Phase != phaseBound || pvOf[claim.Volume].Claim != claim.UID {
				v.Unbound = append(v.Unbound, claim)
			}
		}
	}
	for _, pv := range p.PVs {
		if !kept[pv.Claim] {
			v.Orphaned = append(v.Orphaned, pv)
		}
	}
	return v
}

const phaseBound = "Bound"

// handlesByClaim are the volumes that were made for each claim: those the driver has under its name, and those that PVs
// say are for it.
func handlesByClaim(p picture) map[types.UID][]string {
	handles := map[types.UID][]string{}
	add := func(claim types.UID, handle string) {
		if !slices.Contains(handles[claim], handle) {
			handles[claim] = append(handles[claim], handle)
		}
	}
	for _, volume := range p.Volumes {
		add(volume.claim(), volume.Handle)
	}
	for _, pv := range p.PVs {
		add(pv.Claim, pv.Handle)
	}
	return handles
}
