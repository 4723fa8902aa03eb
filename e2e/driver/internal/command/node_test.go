package command_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	csipb "github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/berth-csi/berth/e2e/driver/internal/mounts"
)

// world is a controller and a node plugin, two processes that share a directory, and where the node's Pods would be.
type world struct {
	t          *testing.T
	controller *driver
	node       *driver
	killNode   func()
	nodePlace  place
	paths      string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	const config = "pools: [{segments: {z: a}, size: 10Gi}]\ncapabilities: {without: [PUBLISH_UNPUBLISH_VOLUME]}\n"
	p := newPlace(t, config)
	p.releasesLoops(t)
	w := &world{t: t, nodePlace: newPlace(t, config), paths: t.TempDir()}
	t.Cleanup(func() { // what a test leaves mounted would be emptied with the directory that it is mounted in
		all, err := mounts.All()
		good(t, err)
		for _, m := range all {
			if strings.HasPrefix(m.Path, w.paths+"/") {
				good(t, mounts.Unmount(m.Path))
			}
		}
	})
	w.controller, _ = start(t, p, "--mode=controller")
	w.startNode()
	return w
}

func (w *world) startNode() {
	w.t.Helper()
	w.node, w.killNode = start(w.t, w.nodePlace, "--mode=node", "--state="+w.controller.path("state"))
}

// asBlock asks for a volume to be used as a device.
func asBlock(r *csipb.CreateVolumeRequest) {
	r.VolumeCapabilities[0].AccessType = &csipb.VolumeCapability_Block{Block: &csipb.VolumeCapability_BlockVolume{}}
}

// used is a volume as Pods use it.
type used struct {
	*world
	id         string
	capability *csipb.VolumeCapability
}

func (w *world) use(v *csipb.Volume, change ...change) used {
	return used{w, v.GetVolumeId(), volumeRequest("", change...).GetVolumeCapabilities()[0]}
}

func (u used) staging() string { return filepath.Join(u.paths, u.id) }

func (u used) stage() error {
	if err := os.MkdirAll(u.staging(), 0o700); err != nil {
		return err
	}
	_, err := u.node.node.NodeStageVolume(u.t.Context(), &csipb.NodeStageVolumeRequest{
		VolumeId: u.id, StagingTargetPath: u.staging(), VolumeCapability: u.capability,
	})
	return err
}

func (u used) publish(target string, readonly bool) error {
	_, err := u.node.node.NodePublishVolume(u.t.Context(), &csipb.NodePublishVolumeRequest{
		VolumeId: u.id, StagingTargetPath: u.staging(), TargetPath: filepath.Join(u.paths, target), VolumeCapability: u.capability, Readonly: readonly,
	})
	return err
}

func (u used) unpublish(target string) error {
	_, err := u.node.node.NodeUnpublishVolume(u.t.Context(), &csipb.NodeUnpublishVolumeRequest{VolumeId: u.id, TargetPath: filepath.Join(u.paths, target)})
	return err
}

func (u used) unstage() error {
	_, err := u.node.node.NodeUnstageVolume(u.t.Context(), &csipb.NodeUnstageVolumeRequest{VolumeId: u.id, StagingTargetPath: u.staging()})
	return err
}

func (u used) remove() error {
	_, err := u.controller.ctl.DeleteVolume(u.t.Context(), &csipb.DeleteVolumeRequest{VolumeId: u.id})
	return err
}

// at stages and publishes, and returns the target path.
func (u used) at(target string, readonly bool) string {
	u.t.Helper()
	good(u.t, u.stage())
	good(u.t, u.publish(target, readonly))
	return filepath.Join(u.paths, target)
}

func good(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hasCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func (w *world) restored(name, from string, change ...change) *csipb.Volume {
	w.t.Helper()
	snap, err := w.controller.ctl.CreateSnapshot(w.t.Context(), &csipb.CreateSnapshotRequest{Name: name, SourceVolumeId: from})
	good(w.t, err)
	return w.controller.create(name, append(change, fromSnapshot(snap.GetSnapshot().GetSnapshotId()))...)
}

func TestWhatAPodWritesIsInSnapshotsAndClones(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	w := newWorld(t)
	origin := w.controller.create("origin")
	target := w.use(origin).at("pod", false)
	file := filepath.Join(target, "file")
	good(t, os.WriteFile(file, []byte("before"), 0o640))
	good(t, os.Chmod(target, os.ModeSetgid|0o775))
	good(t, os.Chown(file, 1000, 2000))
	restored := w.restored("restored", origin.GetVolumeId())
	clone := w.controller.create("clone", from(origin.GetVolumeId()))
	good(t, os.WriteFile(file, []byte("after"), 0o640))
	for name, v := range map[string]*csipb.Volume{"restored": restored, "clone": clone} {
		got := w.use(v).at(name, false)
		content, err := os.ReadFile(filepath.Join(got, "file"))
		good(t, err)
		if string(content) != "before" {
			t.Errorf("%s: has %q", name, content)
		}
		info, err := os.Stat(filepath.Join(got, "file"))
		good(t, err)
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 1000 || owner.Gid != 2000 || info.Mode() != 0o640 {
			t.Errorf("%s: the file is %d:%d's, with mode %v", name, owner.Uid, owner.Gid, info.Mode())
		}
		if info, err = os.Stat(got); err != nil || info.Mode() != os.ModeDir|os.ModeSetgid|0o775 {
			t.Errorf("%s: the volume has mode %v (%v)", name, info.Mode(), err)
		}
	}
}

func TestAVolumeIsMountedAsAskedForAndOnce(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	w := newWorld(t)
	u := w.use(w.controller.create("v"))
	hasCode(t, u.publish("early", false), codes.FailedPrecondition)
	target := u.at("pod", true)
	if err := os.WriteFile(filepath.Join(target, "file"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing to what is read-only: %v", err)
	}
	good(t, u.stage())
	good(t, u.publish("pod", true))
	hasCode(t, u.publish("pod", false), codes.AlreadyExists)
	hasCode(t, u.publish("another", false), codes.FailedPrecondition)
	hasCode(t, u.unstage(), codes.FailedPrecondition)
	good(t, u.unpublish("pod"))
	good(t, u.unpublish("pod"))
	if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target path is left: %v", err)
	}
	good(t, u.unstage())
	good(t, u.unstage())
	good(t, u.remove())
	good(t, u.unpublish("pod"))
}

func TestAVolumeInUseIsNotDeleted(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	w := newWorld(t)
	u := w.use(w.controller.create("v"))
	u.at("pod", false)
	hasCode(t, u.remove(), codes.FailedPrecondition)
	good(t, u.unpublish("pod"))
	hasCode(t, u.remove(), codes.FailedPrecondition)
	good(t, u.unstage())
	good(t, u.remove())
	hasCode(t, u.stage(), codes.NotFound)
}

// TestANodePluginThatWasKilledGoesOn: nothing is known but what is mounted, so nothing is forgotten.
func TestANodePluginThatWasKilledGoesOn(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	w := newWorld(t)
	u := w.use(w.controller.create("v"))
	target := u.at("pod", false)
	good(t, os.WriteFile(filepath.Join(target, "file"), []byte("hello"), 0o600))
	w.killNode()
	w.startNode()
	good(t, u.stage())
	good(t, u.publish("pod", false))
	hasCode(t, u.publish("another", false), codes.FailedPrecondition)
	if content, err := os.ReadFile(filepath.Join(target, "file")); string(content) != "hello" {
		t.Errorf("the Pod reads %q (%v)", content, err)
	}
	good(t, u.unpublish("pod"))
	good(t, u.unstage())
	good(t, u.remove())
}

func TestWhatIsBusyOrNotOursStays(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	w := newWorld(t)
	u, other := w.use(w.controller.create("v")), w.use(w.controller.create("other"))
	target := u.at("pod", false)
	good(t, other.stage())
	hasCode(t, other.publish("pod", false), codes.FailedPrecondition)
	hasCode(t, other.unpublish("pod"), codes.FailedPrecondition)
	open, err := os.Create(filepath.Join(target, "file"))
	good(t, err)
	hasCode(t, u.unpublish("pod"), codes.FailedPrecondition)
	good(t, open.Close())
	good(t, u.unpublish("pod"))
	good(t, u.unstage())
	good(t, other.unstage())
}

func TestStatisticsAreOfTheFileSystem(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	w := newWorld(t)
	u := w.use(w.controller.create("v"))
	target := u.at("pod", false)
	stats := func(path string) (*csipb.NodeGetVolumeStatsResponse, error) {
		return w.node.node.NodeGetVolumeStats(t.Context(), &csipb.NodeGetVolumeStatsRequest{VolumeId: u.id, VolumePath: path})
	}
	got, err := stats(target)
	good(t, err)
	var fs syscall.Statfs_t
	good(t, syscall.Statfs(target, &fs))
	bytes, inodes := got.GetUsage()[0], got.GetUsage()[1]
	if bytes.GetTotal() != int64(fs.Blocks)*fs.Bsize || bytes.GetAvailable() <= 0 || bytes.GetUsed()+bytes.GetAvailable() > bytes.GetTotal() ||
		inodes.GetUnit() != csipb.VolumeUsage_INODES || inodes.GetTotal() != int64(fs.Files) {
		t.Errorf("%v, of a file system of %d blocks of %d", got, fs.Blocks, fs.Bsize)
	}
	_, err = stats(w.paths)
	hasCode(t, err, codes.NotFound)
}

func TestBlockVolumesAreDevices(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	needsLoops(t)
	w := newWorld(t)
	origin := w.controller.create("origin", asBlock, sized(1<<20+1))
	u := w.use(origin, asBlock)
	device, err := os.OpenFile(u.at("pod", false), os.O_RDWR|syscall.O_EXCL, 0)
	good(t, err)
	_, err = device.WriteAt([]byte("hello"), 1<<19)
	good(t, errors.Join(err, device.Sync(), device.Close()))

	restored := w.use(w.restored("restored", u.id, asBlock, sized(1<<20+1)), asBlock)
	readonly := restored.at("restored", true)
	content, err := os.ReadFile(readonly)
	good(t, err)
	if len(content) != 1<<20+4096 || !bytes.Equal(content[1<<19:1<<19+5], []byte("hello")) {
		t.Errorf("restored are %d bytes with %q", len(content), content[1<<19:1<<19+5])
	}
	if device, err := os.OpenFile(readonly, os.O_RDWR, 0); err == nil {
		_, err = device.Write([]byte("x"))
		device.Close()
		if err == nil {
			t.Error("what is read-only can be written")
		}
	}
	good(t, restored.publish("restored", true))
	hasCode(t, restored.publish("restored", false), codes.AlreadyExists)

	asFile := w.use(origin)
	hasCode(t, asFile.stage(), codes.InvalidArgument)
	for _, each := range []used{u, restored} {
		hasCode(t, each.unstage(), codes.FailedPrecondition)
	}
	good(t, errors.Join(u.unpublish("pod"), restored.unpublish("restored"), u.unstage(), restored.unstage(), u.remove(), restored.remove()))
}

func TestADeviceGrowsWithItsVolume(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	needsLoops(t)
	w := newWorld(t)
	block, directory := w.use(w.controller.create("block", asBlock, sized(1<<20)), asBlock), w.use(w.controller.create("directory", sized(1<<20)))
	grow := func(u used) *csipb.ControllerExpandVolumeResponse {
		r, err := w.controller.ctl.ControllerExpandVolume(t.Context(), &csipb.ControllerExpandVolumeRequest{
			VolumeId: u.id, CapacityRange: &csipb.CapacityRange{RequiredBytes: 2 << 20},
		})
		good(t, err)
		return r
	}
	onNode := func(u used, path string) int64 {
		r, err := w.node.node.NodeExpandVolume(t.Context(), &csipb.NodeExpandVolumeRequest{VolumeId: u.id, VolumePath: path})
		good(t, err)
		return r.GetCapacityBytes()
	}
	device, path := block.at("block", false), directory.at("directory", false)
	for u, want := range map[used]*csipb.ControllerExpandVolumeResponse{
		block:     {CapacityBytes: 2 << 20, NodeExpansionRequired: true},
		directory: {CapacityBytes: 2 << 20},
	} {
		if diff := cmp.Diff(want, grow(u), protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	if got := []int64{onNode(block, device), onNode(directory, path)}; !cmp.Equal(got, []int64{2 << 20, 0}) {
		t.Errorf("on the node they have %d", got)
	}
	stats, err := w.node.node.NodeGetVolumeStats(t.Context(), &csipb.NodeGetVolumeStatsRequest{VolumeId: block.id, VolumePath: device})
	good(t, err)
	if got := stats.GetUsage()[0].GetTotal(); got != 2<<20 {
		t.Errorf("the device has %d bytes", got)
	}
	good(t, errors.Join(block.unpublish("block"), block.unstage(), directory.unpublish("directory"), directory.unstage()))
}
