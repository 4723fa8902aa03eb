package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-csi/berth/e2e/controlplane/internal/component"
	"github.com/berth-csi/berth/e2e/controlplane/internal/control"
	"github.com/berth-csi/berth/e2e/controlplane/internal/node"
	"github.com/berth-csi/berth/e2e/controlplane/internal/pki"
)

const (
	// nodeAPIServerPort is that of the kubernetes Service, since nothing translates one port into another.
	nodeAPIServerPort = 443
	kubeletPort       = 10250
)

// apiServerNodeFlags are what the API server needs for Pods that call it, webhooks that are Pods, and a kubelet.
func apiServerNodeFlags(files pki.Layout) component.Flags {
	return component.Flags{
		"bind-address":                    "0.0.0.0",
		"advertise-address":               node.Address,
		"endpoint-reconciler-type":        "lease",
		"enable-aggregator-routing":       "true",
		"kubelet-client-certificate":      files.KubeletClient.Certificate,
		"kubelet-client-key":              files.KubeletClient.Key,
		"kubelet-certificate-authority":   files.CA.Certificate,
		"kubelet-preferred-address-types": "InternalIP",
	}
}

func kubeletFlags(f facts) component.Flags {
	return component.Flags{
		"config":            f.node.KubeletConfig(),
		"kubeconfig":        f.dir.ComponentKubeconfig(component.Kubelet),
		"hostname-override": node.Name,
		"node-ip":           node.Address,
		"root-dir":          node.KubeletRoot,
	}
}

// address is where a component listens, for the ready file.
func (p ports) address(name component.Name) string {
	switch name {
	case component.Containerd:
		return "unix://" + node.ContainerdSocket
	case component.Kubelet:
		return "https://" + net.JoinHostPort(node.Address, strconv.Itoa(kubeletPort))
	}
	return loopback(p.of(name))
}

func (p ports) apiServerAddress() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.apiServer))
}

// server is where the outside finds the API server.
func (s *Supervisor) server() string {
	if s.config.Node != nil {
		return loopback(s.config.Node.Port)
	}
	return loopback(s.facts.ports.apiServer)
}

// commandOf says how a component is started: as ourselves, but for containerd.
func (s *Supervisor) commandOf(u *unit, flags component.Flags) command {
	c := command{executable: s.config.Executable, name: u.name, log: u.log, lifeline: s.lifeline}
	if u.name == component.Containerd {
		c.executable = s.config.Node.Program("containerd")
		c.args = append([]string{string(u.name)}, flags.Args()...)
		c.env = []string{s.runtimePath()} // it looks for its shim there
		return c
	}
	// The components derive their user agent from the name they are called by, as does ps.
	c.args = append([]string{string(u.name), "component", string(u.name)}, flags.Args()...)
	return c
}

func (s *Supervisor) runtimePath() string {
	return "PATH=" + s.config.Node.Runtime + ":" + os.Getenv("PATH")
}

// startRuntime starts containerd, if there is a node, and imports the images.
func (s *Supervisor) startRuntime(ctx context.Context) error {
	if s.config.Node == nil {
		return nil
	}
	if err := s.Start(ctx, control.Start{Component: component.Containerd}); err != nil {
		return err
	}
	asked := time.Now()
	for _, image := range s.config.Images {
		ctr := exec.CommandContext(ctx, s.config.Node.Program("ctr"), "--address", node.ContainerdSocket, "--namespace", "k8s.io", "images", "import", image)
		ctr.WaitDelay = time.Second
		if out, err := ctr.CombinedOutput(); err != nil {
			return fmt.Errorf("import image %s: %w: %s", image, err, strings.TrimSpace(string(out)))
		}
	}
	if len(s.config.Images) > 0 {
		s.reportf("%d images imported in %.1f s", len(s.config.Images), time.Since(asked).Seconds())
	}
	return nil
}

// containerdHealthy: it listens once its plugins are there.
func (p *prober) containerdHealthy(ctx context.Context) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", node.ContainerdSocket)
	if err != nil {
		return err
	}
	return connection.Close()
}

// kubeletHealthy looks at the Node, which is ready once the kubelet, containerd and the network are, and at whether Pods may run there by now.
func (p *prober) kubeletHealthy(ctx context.Context) error {
	body, err := get(ctx, p.kubernetes, loopback(p.ports.apiServer)+"/api/v1/nodes/"+node.Name)
	if err != nil {
		return err
	}
	var object corev1.Node
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		return fmt.Errorf("read Node: %w", err)
	}
	if slices.ContainsFunc(object.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == corev1.TaintNodeNotReady }) {
		return errors.New("the Node is still tainted as not ready")
	}
	for _, condition := range object.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			if condition.Status == corev1.ConditionTrue {
				return nil
			}
			return fmt.Errorf("the Node is not ready: %s", condition.Message)
		}
	}
	return errors.New("the Node says nothing about being ready")
}
