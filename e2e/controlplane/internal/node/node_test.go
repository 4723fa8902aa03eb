package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHierarchiesAreFoundAmongMounts(t *testing.T) {
	const hybrid = `23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	cases := map[string]struct {
		mountinfo string
		want      []hierarchy
		missing   []string
	}{
		"two versions side by side": {
			mountinfo: hybrid,
			want: []hierarchy{
				{path: "/sys/fs/cgroup/cpu,cpuacct", controllers: []string{"cpu", "cpuacct"}},
				{path: "/sys/fs/cgroup/cpuset", controllers: []string{"cpuset"}},
				{path: "/sys/fs/cgroup/systemd"},
				{path: "/sys/fs/cgroup/unified", v2: true},
			},
			missing: []string{"devices", "freezer", "memory", "pids"},
		},
		"a container sees its own part only, and may not leave it": {
			mountinfo: "34 31 0:31 /docker/1 /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n",
			missing:   needed(),
		},
		"version 2 alone": {
			mountinfo: "26 23 0:24 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
			want:      []hierarchy{{path: "/sys/fs/cgroup", v2: true}},
			missing:   needed(),
		},
		"lines that make no sense are nobody's": {mountinfo: "- -\n\n1 2 3 - cgroup\nx - cgroup cgroup rw\n", missing: needed()},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := hierarchies(c.mountinfo)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Errorf("hierarchies (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.missing, missingControllers(got)); diff != "" {
				t.Errorf("missing controllers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	good := func(change func(*surroundings)) surroundings {
		s := surroundings{
			root:        true,
			hierarchies: []hierarchy{{path: "/sys/fs/cgroup/all", controllers: needed()}},
			place:       Place{Dir: "/tmp/cluster", Runtime: "/src/bin/node"},
		}
		change(&s)
		return s
	}
	cases := map[string]struct {
		surroundings surroundings
		want         []string
	}{
		"nothing": {surroundings: good(func(*surroundings) {})},
		"root": {
			surroundings: good(func(s *surroundings) { s.root = false }),
			want:         []string{"this is not root with CAP_SYS_ADMIN: run it as root"},
		},
		"one controller": {
			surroundings: good(func(s *surroundings) { s.hierarchies[0].controllers = s.hierarchies[0].controllers[1:] }),
			want:         []string{"there are no cgroup v1 controllers cpu"},
		},
		"version 1 altogether": {
			surroundings: good(func(s *surroundings) { s.hierarchies = []hierarchy{{path: "/sys/fs/cgroup", v2: true}} }),
			want: []string{
				"there are no cgroup v1 controllers cpu, cpuacct, cpuset, devices, freezer, memory, pids (cgroup v2 alone is not supported)",
			},
		},
		"programs": {
			surroundings: good(func(s *surroundings) {
				s.runcMissing, s.mountMissing, s.runtimeMissing = true, true, []string{"ctr", "ptp"}
			}),
			want: []string{
				"there is no runc: install the package runc",
				"there is no mount: install the package mount",
				"there is no ctr, ptp in /src/bin/node: run make node-bins",
			},
		},
		"a directory that stays visible": {
			surroundings: good(func(s *surroundings) { s.place.Dir = "/run/user/0/cluster" }),
			want:         []string{"/run/user/0/cluster is below /run, of which a node has its own"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.surroundings.missing()); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestACgroupIsNamedForItsDirectory(t *testing.T) {
	a, b := Place{Dir: "/tmp/a"}.Cgroup(), Place{Dir: "/tmp/b"}.Cgroup()
	if a == b || a != (Place{Dir: "/tmp/a", Runtime: "/elsewhere", Port: 1}).Cgroup() {
		t.Errorf("/tmp/a has %s, /tmp/b %s", a, b)
	}
}

func TestTreesAreRemovedFromTheirLeavesOn(t *testing.T) {
	root := filepath.Join(t.TempDir(), "controlplane")
	if err := os.MkdirAll(filepath.Join(root, "kubepods", "pod"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing
		if err := removeTree(root); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		t.Errorf("it is still there (%v)", err)
	}
}

func TestContainerdAndKubeletStayInTheirDirectories(t *testing.T) {
	place := Place{Dir: "/tmp/cluster", Runtime: "/src/bin/node"}
	kubelet := kubeletConfig(place, Certificates{Serving: "/tmp/cluster/pki/kubelet.crt", Key: "/tmp/cluster/pki/kubelet.key", ClientCA: "/tmp/cluster/pki/ca.crt"})
	if !strings.Contains(kubelet, "cgroupRoot: /"+place.Cgroup()+"\n") {
		t.Errorf("the kubelet's Pods are not in the node's cgroup:\n%s", kubelet)
	}
	for name, content := range map[string]string{"kubelet": kubelet, "containerd": containerdConfig(place, "native")} {
		for _, word := range strings.FieldsFunc(content, func(r rune) bool { return strings.ContainsRune(" '\"\n[]{},", r) }) {
			path := strings.TrimPrefix(word, "unix://")
			if !strings.HasPrefix(path, "/") || path == "/"+place.Cgroup() {
				continue
			}
			ours := strings.HasPrefix(path, "/tmp/cluster/") || path == place.Runtime
			for _, directory := range hidden() {
				ours = ours || strings.HasPrefix(path, directory+"/")
			}
			if !ours {
				t.Errorf("%s is told of %s, which is the machine's", name, path)
			}
		}
	}
}
