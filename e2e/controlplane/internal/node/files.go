package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-csi/berth/e2e/controlplane/internal/directory"
)

// PauseImage holds a Pod's namespaces. It has to be among the imported ones.
const PauseImage = "localhost/pause:e2e"

// ContainerdConfig, KubeletConfig and their like are files that WriteFiles makes.
func (p Place) ContainerdConfig() string { return p.Path("containerd.toml") }

// KubeletConfig is the kubelet's file of settings.
func (p Place) KubeletConfig() string { return p.Path("kubelet.yaml") }

func (p Place) networks() string { return p.Path("networks") }

// Certificates are the files with which the kubelet serves and knows its clients.
type Certificates struct {
	Serving, Key, ClientCA string
}

// WriteFiles writes the settings of containerd, the network plugin and the kubelet.
func (p Place) WriteFiles(certificates Certificates) error {
	snapshotter, err := snapshotterFor(string(p.Dir))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.networks(), 0o755); err != nil {
		return fmt.Errorf("write settings of the node: %w", err)
	}
	for path, content := range map[string]string{
		p.ContainerdConfig():                         containerdConfig(p, snapshotter),
		p.KubeletConfig():                            kubeletConfig(p, certificates),
		filepath.Join(p.networks(), "pods.conflist"): networkConfig,
	} {
		if err := directory.Write(path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// snapshotterFor avoids an overlay on an overlay, which kernels refuse: a machine that is a container itself has one.
func snapshotterFor(path string) (string, error) {
	var about unix.Statfs_t
	if err := unix.Statfs(path, &about); err != nil {
		return "", fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	if about.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native", nil
	}
	return "overlayfs", nil
}

// containerdConfig names no directory of the machine's but those that a node has its own of. Plugins that would make others are off.
func containerdConfig(p Place, snapshotter string) string {
	return fmt.Sprintf(`version = 4
root = '/var/lib/containerd'
state = '/run/containerd'
imports = []
disabled_plugins = [
  'io.containerd.image-verifier.v1.bindir',
  'io.containerd.internal.v1.opt',
  'io.containerd.nri.v1.nri',
  'io.containerd.tracing.processor.v1.otlp',
]

[plugins.'io.containerd.server.v1.grpc']
  address = '%[1]s'

[plugins.'io.containerd.cri.v1.images']
  snapshotter = '%[2]s'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = '%[3]s'

[plugins.'io.containerd.cri.v1.runtime']
  # Without CAP_SYS_RESOURCE nothing could be protected better than this process is, and no container would start.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['%[4]s']
    conf_dir = '%[5]s'
    use_internal_loopback = true
`, ContainerdSocket, snapshotter, PauseImage, p.Runtime, p.networks())
}

// networkConfig gives each Pod a cable to the node, and the node as its way everywhere.
const networkConfig = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "ptp",
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "` + PodRange + `"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`

// kubeletConfig leaves the machine alone where a kubelet would rule it: no eviction for a disk that others fill, no firewall, no rank among processes.
func kubeletConfig(p Place, certificates Certificates) string {
	lines := []string{
		"apiVersion: kubelet.config.k8s.io/v1beta1",
		"kind: KubeletConfiguration",
		"containerRuntimeEndpoint: unix://" + ContainerdSocket,
		"authentication:",
		"  anonymous: {enabled: false}",
		"  webhook: {enabled: true}",
		"  x509: {clientCAFile: " + certificates.ClientCA + "}",
		"authorization: {mode: Webhook}",
		"tlsCertFile: " + certificates.Serving,
		"tlsPrivateKeyFile: " + certificates.Key,
		"cgroupDriver: cgroupfs",
		"cgroupRoot: /" + p.Cgroup(),
		"failCgroupV1: false",
		"enforceNodeAllocatable: [pods]",
		"failSwapOn: false",
		"evictionHard: {memory.available: 64Mi, nodefs.available: 64Mi, nodefs.inodesFree: 1%, imagefs.available: 64Mi}",
		"imageGCHighThresholdPercent: 100",
		"imageGCLowThresholdPercent: 99",
		"makeIPTablesUtilChains: false",
		"oomScoreAdj: 0",
		`resolvConf: ""`,
		// Who kills a container in a test has no five minutes for it to come back.
		"crashLoopBackOff: {maxContainerRestartPeriod: 2s}",
		"serializeImagePulls: false",
		"volumePluginDir: " + KubeletRoot + "/volume-plugins",
	}
	return strings.Join(lines, "\n") + "\n"
}
