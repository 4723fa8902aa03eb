package main

import (
	"github.com/berth-csi/berth/e2e/harness"
)

// fault of CreateVolume.
func fault(action, code string, times int) []harness.Fault {
	return []harness.Fault{{Method: harness.CreateVolume, Action: action, Code: code, Times: times}}
}

// faultCases have the driver answer what it should not, or what is hard to hear.
func faultCases() []testCase {
	return []testCase{
		// Half of one byte is none: the answer leaves the capacity open.
		{name: "answer without a capacity", claim: claimOf(harness.Size("1")), faults: fault("smaller", "", 0)},
		{name: "answer with less capacity", faults: fault("smaller", "", 0), expect: failed},
		{
			name: "answer without the source", with: []ingredient{source()}, claim: claimOf(harness.FromClaim("source")),
			faults: fault("no-source", "", 0), expect: failed,
		},
		{name: "answer without a handle", faults: fault("empty-volume-id", "", 0), expect: silent, until: 1},
		{name: "busy, then done", faults: fault("error", "Unavailable", 1)},
		{name: "aborted, then done", faults: fault("error", "Aborted", 1)},
		{name: "answer lost", faults: fault("lost", "DeadlineExceeded", 1)},
		{name: "internal error, then done", faults: fault("error", "Internal", 1)},
		{name: "invalid argument", faults: fault("error", "InvalidArgument", 0), expect: failed},
		{name: "permission denied", faults: fault("error", "PermissionDenied", 0), expect: failed},
		{name: "no room", faults: fault("error", "ResourceExhausted", 0), expect: failed},
		{
			name: "no room on the selected node, then done", faults: fault("error", "ResourceExhausted", 1),
			class: classOf(harness.WaitForFirstConsumer), podOn: "zone-b",
		},
		{name: "busy, restored", with: taken(), claim: claimOf(harness.FromSnapshot("snap")), faults: fault("error", "Unavailable", 1)},
	}
}

// nilVolumeCases end the established provisioner's process, so each has its own.
func nilVolumeCases() []testCase {
	return []testCase{{name: "answer without a volume", faults: fault("nil-volume", "", 0), expect: died}}
}
