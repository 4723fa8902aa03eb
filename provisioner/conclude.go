package provisioner

import (
	"fmt"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/berth-csi/berth/csi"
)

// Result is what came of an attempt's call: the driver's volume if the outcome is done, and the outcome.
type Result struct {
	Outcome csi.Outcome
	Volume  *csipb.Volume // set if and only if Outcome.Class is csi.Done
}

// Step is what follows from the result of CreateVolume: Accept, Repeat, Reject, Fail or Reschedule.
//
//sumtype:decl
type Step interface{ step() }

// Accept: there is a volume, and it is what was asked for. Its object is to be written.
type Accept struct{ Volume *csipb.Volume }

// Repeat: nobody knows. The same request is to be sent again, later.
type Repeat struct{ Message string }

// Reject: there is a volume and it is not what was asked for. It is to be deleted; then the attempt has failed.
type Reject struct {
	Volume  *csipb.Volume
	Message string
}

// Fail: there is no volume. A new attempt may be made later; much later if the request is infeasible.
type Fail struct {
	Message    string
	Infeasible bool
	NoRoom     bool // in the segments that were offered
}

// Reschedule: there is no volume because there is no room where the scheduler placed the Pod. The claim goes back to the scheduler.
type Reschedule struct{ Message string }

func (Accept) step()     {}
func (Repeat) step()     {}
func (Reject) step()     {}
func (Fail) step()       {}
func (Reschedule) step() {}

// Conclude says what follows from the result of an attempt's CreateVolume. It is total.
func Conclude(s Settings, attempt *Attempt, result Result) Step {
	switch result.Outcome.Class {
	case csi.Done:
		return examine(s, attempt, result.Volume)
	case csi.Unknown:
		return Repeat{fmt.Sprintf("the outcome of CreateVolume is unknown, the same request will be sent again: %s", result.Outcome)}
	case csi.Exhausted:
		if !s.Node.IsZero() && attempt.SelectedNode != "" {
			return Reschedule{fmt.Sprintf("no room for the volume on node %q, it is left to other nodes: %s", attempt.SelectedNode, result.Outcome)}
		}
		if s.Driver.Topology && attempt.SelectedNode != "" {
			return Reschedule{fmt.Sprintf("no room for the volume near node %q, the scheduler will choose again: %s", attempt.SelectedNode, result.Outcome)}
		}
		return Fail{Message: fmt.Sprintf("the driver has no room for the volume: %s", result.Outcome), NoRoom: true}
	case csi.Infeasible:
		return Fail{Message: fmt.Sprintf("the driver refuses the request as it is; make the claim again, or its class %q, with what the driver can do: %s", attempt.Class, result.Outcome), Infeasible: true}
	case csi.Failed:
		if attempt.unsure || attempt.restored {
			// Drivers check credentials, quotas and the like before they look for a volume of that name, so this does not tell that there is none.
			return Repeat{fmt.Sprintf("the driver failed, and whether an earlier call has created the volume is unknown, so the same request will be sent again: %s", result.Outcome)}
		}
	}
	return Fail{Message: fmt.Sprintf("the driver could not create the volume: %s", result.Outcome)}
}

// examine compares a volume with what was asked for. An empty source is never accepted for a claim that was to be filled: the claim's
// Pods would write to it before anybody noticed.
func examine(s Settings, attempt *Attempt, volume *csipb.Volume) Step {
	asked := attempt.Request.GetCapacityRange().GetRequiredBytes()
	// 0 means "unknown" (CSI spec, Volume.capacity_bytes).
	if got := volume.GetCapacityBytes(); got != 0 && got < asked {
		return Reject{volume, fmt.Sprintf("the driver created a volume of %d bytes where at least %d were asked for", got, asked)}
	}
	// CSI spec, Volume.content_source: it must be set if the request asked for one.
	if attempt.Request.GetVolumeContentSource() != nil && volume.GetContentSource() == nil {
		return Reject{volume, fmt.Sprintf("the driver created a volume without saying that it was filled from %s: it may be empty", attempt.Source)}
	}
	if _, err := newVolume(s, attempt, volume); err != nil {
		return Reject{volume, fmt.Sprintf("the driver created a volume that no PersistentVolume can be made for: %v", err)}
	}
	return Accept{volume}
}
