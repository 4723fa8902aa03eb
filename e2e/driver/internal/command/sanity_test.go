package command_test

import (
	"testing"

	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"

	"github.com/berth-csi/berth/e2e/driver/internal/command"
)

const sanityConfig = `
node:
  segments: {topology.pool.csi.berth.dev/zone: zone-a}
  maxVolumes: 4
pools:
- {segments: {topology.pool.csi.berth.dev/zone: zone-a}, size: 1Ti}
- {segments: {topology.pool.csi.berth.dev/zone: zone-b}, size: 1Ti}
mutableParameters: [iops]
`

// TestSanity runs the CSI sanity suite. It can only run once in a process.
func TestSanity(t *testing.T) { isSane(t, "mount") }

// TestSanityWithMounts runs it against a driver that mounts, with its tests of staging, statistics and expansion on the node.
func TestSanityWithMounts(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	isSane(t, "mount", mounting)
}

// TestSanityWithDevices does so with block volumes.
func TestSanityWithDevices(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	needsLoops(t)
	isSane(t, "block", mounting)
}

// TestSanityWithoutStaging is for a driver that publishes at once.
func TestSanityWithoutStaging(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	isSane(t, "mount", mounting, func(o *command.Options) {
		directly := newPlace(t, sanityConfig+"capabilities: {without: [STAGE_UNSTAGE_VOLUME]}\n")
		o.Config = directly.path("config.yaml")
	})
}

func isSane(t *testing.T, access string, change ...func(*command.Options)) {
	t.Helper()
	p := newPlace(t, sanityConfig)
	p.releasesLoops(t)
	d := serve(t, p, change...)
	c := sanity.NewTestConfig()
	c.Address = "unix://" + d.path("csi.sock")
	c.TargetPath = d.path("target")
	c.StagingPath = d.path("staging")
	c.TestVolumeParameters = map[string]string{"tier": "fast"}
	c.TestVolumeMutableParameters = map[string]string{"iops": "3000"}
	c.TestVolumeAccessType = access
	c.TestNodeVolumeAttachLimit = true
	sanity.Test(t, c)
	if left := d.volumes(); len(left) > 0 {
		t.Errorf("the suite left %d volumes behind, which means that deleting does not work: %v", len(left), left)
	}
}
