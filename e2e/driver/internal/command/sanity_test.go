package command_test

import (
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
)

// TestSanity runs the CSI sanity suite. It can only run once in a process.
func TestSanity(t *testing.T) {
	d := serve(t, newPlace(t, `
node:
  segments: {topology.pool.csi.berth.dev/zone: zone-a}
  maxVolumes: 4
pools:
- {segments: {topology.pool.csi.berth.dev/zone: zone-a}, size: 1Ti}
- {segments: {topology.pool.csi.berth.dev/zone: zone-b}, size: 1Ti}
mutableParameters: [iops]
`))
	c := sanity.NewTestConfig()
	c.Address = "unix://" + d.path("csi.sock")
	c.TargetPath = d.path("target")
	c.StagingPath = d.path("staging")
	c.TestVolumeParameters = map[string]string{"tier": "fast"}
	c.TestVolumeMutableParameters = map[string]string{"iops": "3000"}
	c.TestNodeVolumeAttachLimit = true
	sanity.Test(t, c)
	if left := d.volumes(); len(left) > 0 {
		t.Errorf("the suite left %d volumes behind, which means that deleting does not work: %v", len(left), left)
	}
}
