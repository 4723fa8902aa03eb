package command

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/berth-csi/berth/e2e/driver/internal/config"
	"github.com/berth-csi/berth/e2e/driver/internal/csidriver"
	"github.com/berth-csi/berth/e2e/driver/internal/data"
	"github.com/berth-csi/berth/e2e/driver/internal/node"
	"github.com/berth-csi/berth/e2e/driver/internal/state"
)

// The values of --mode.
const (
	modeAll        = "all"
	modeController = "controller"
	modeNode       = "node"
)

// checkRole checks the flags that say what the process is, against each other and the configuration, which it completes with what is said of the node.
func (o Options) checkRole(c *config.Config) error {
	switch o.Mode {
	case modeAll, modeNode:
	case modeController:
		if o.Mount {
			return errors.New("--mount: is for the node service, which --mode=controller does not have")
		}
		if o.Registration != "" {
			return errors.New("--registration-socket: is for the node service, which --mode=controller does not have")
		}
	default:
		return fmt.Errorf("--mode: %q is not one of %s, %s, %s", o.Mode, modeAll, modeController, modeNode)
	}
	if o.NodeID == "" {
		return errors.New("--node-id: is empty")
	}
	if o.mounts() && c.Data != config.Directory {
		return fmt.Errorf("%s: data is %q, and only directories, with files for block volumes, can be mounted", o.Config, c.Data)
	}
	if o.Registration != "" && !strings.HasPrefix(o.KubeletEndpoint, "/") {
		return fmt.Errorf("--kubelet-endpoint: %q is not the path of a socket on the node, and the kubelet has to be told one", o.KubeletEndpoint)
	}
	if len(o.NodeSegments) == 0 {
		return nil
	}
	if !c.Topology {
		return errors.New("--node-segments: topology is false")
	}
	c.NodeSegments = o.NodeSegments
	return config.CheckSegments("--node-segments", o.NodeSegments)
}

// mounts says whether this process mounts. A node plugin that stands alone always does.
func (o Options) mounts() bool { return o.Mount || o.Mode == modeNode }

// openState opens what is kept on disk, and adds it to the parts of a driver. A node plugin only looks at the directory, which belongs to the controller.
// The function that is returned closes it again.
func (o Options) openState(parts *csidriver.Parts) (func() error, error) {
	kinds := map[config.Data]data.Kind{config.Directory: data.Directories, config.Sparse: data.SparseFiles, config.None: data.Nothing}
	var err error
	if parts.Data, err = data.Open(filepath.Clean(o.State), kinds[parts.Config.Data]); err != nil {
		return nil, err
	}
	parts.NodeService = o.Mode != modeController
	parts.Mounted = o.mounts() || o.Mode == modeController
	if o.mounts() {
		parts.Node = &node.Node{ID: o.NodeID, Data: parts.Data, Stages: parts.Config.Capabilities.Has("STAGE_UNSTAGE_VOLUME")}
	}
	if o.Mode == modeNode {
		return func() error { return nil }, nil
	}
	store, err := state.Open(o.State, parts.Config.Pools)
	if err != nil {
		return nil, err
	}
	err = parts.Data.Sweep(
		func(id string) bool { return store.Volume(id) != nil },
		func(id string) bool { return store.Snapshot(id) != nil },
	)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	parts.Store = store
	return store.Close, nil
}
