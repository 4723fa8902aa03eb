package chart

import (
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// TestPodsAreRestricted: a namespace that enforces the restricted Pod security standard takes the Pods, unless the driver asks for more.
func TestPodsAreRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	level := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
	for mode, values := range modes(t) {
		if mode == "provisioner-only" {
			continue // the socket is on the node
		}
		for name, pod := range podSpecs(rendered(t, values, apiVersions()...)) {
			if strings.HasPrefix(name, "DaemonSet ") {
				continue // the same, and what a driver on a node needs
			}
			spec := pod.Spec.DeepCopy()
			spec.InitContainers = nil
			spec.Containers = nil
			for _, container := range pod.Spec.Containers {
				if container.Name == "berth" || container.Name == "check" {
					spec.Containers = append(spec.Containers, container)
				}
			}
			for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, spec) {
				if !result.Allowed {
					t.Errorf("%s: %s: %s: %s", mode, name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
			if !*spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem {
				t.Errorf("%s: %s may write", mode, name)
			}
		}
	}
}

func TestPodsHaveTimeToStop(t *testing.T) {
	for mode, values := range modes(t) {
		for name, deployment := range of[*appsv1.Deployment](rendered(t, values, apiVersions()...)) {
			spec := &deployment.Spec.Template.Spec
			flags := flagsOf(berthOf(t, spec))
			needed := time.Duration(0)
			for _, flag := range []string{"shutdown-grace", "admission-drain"} {
				if text := flags[flag]; text != "" {
					duration, err := time.ParseDuration(text)
					if err != nil {
						t.Fatal(err)
					}
					needed = max(needed, duration) // they pass side by side
				}
			}
			needed += 14 * time.Second // without an API server, see docs/operating.md
			if given := time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second; given < needed {
				t.Errorf("%s: %s is given %s and needs %s", mode, name, given, needed)
			}
		}
	}
}

// TestPodsFitTogether: mounts have volumes, probes and flags agree on ports, Deployments and budgets select their own Pods and no others.
func TestPodsFitTogether(t *testing.T) {
	for mode, values := range modes(t) {
		objects := rendered(t, values, apiVersions()...)
		pods := podSpecs(objects)
		for name, pod := range pods {
			volumes := map[string]bool{}
			for _, volume := range pod.Spec.Volumes {
				volumes[volume.Name] = true
			}
			for _, container := range pod.Spec.Containers {
				for _, mount := range container.VolumeMounts {
					if !volumes[mount.Name] {
						t.Errorf("%s: %s: %s mounts %s, which there is not", mode, name, container.Name, mount.Name)
					}
				}
			}
		}
		for name, deployment := range of[*appsv1.Deployment](objects) {
			for other, pod := range pods {
				if got := selects(deployment.Spec.Selector.MatchLabels, pod.Labels); got != (name == other) {
					t.Errorf("%s: %s selects the Pods of %s: %v", mode, name, other, got)
				}
			}
			berth := berthOf(t, &deployment.Spec.Template.Spec)
			if got := flagsOf(berth)["http-endpoint"]; got != ":"+strconv.Itoa(int(berth.Ports[0].ContainerPort)) || berth.Ports[0].Name != "http" {
				t.Errorf("%s: %s serves health at %s and says %v", mode, name, got, berth.Ports[0])
			}
			for _, probe := range []*corev1.Probe{berth.StartupProbe, berth.LivenessProbe, berth.ReadinessProbe} {
				if probe.HTTPGet.Port.StrVal != "http" {
					t.Errorf("%s: %s is probed at %v", mode, name, probe.HTTPGet.Port)
				}
			}
			if berth.ReadinessProbe.HTTPGet.Path != "/readyz" || berth.LivenessProbe.HTTPGet.Path != "/livez" {
				t.Errorf("%s: %s is probed elsewhere", mode, name)
			}
			environment := map[string]bool{}
			for _, variable := range berth.Env {
				environment[variable.Name] = true
			}
			for _, variable := range []string{"POD_NAME", "POD_NAMESPACE", "NAMESPACE"} {
				if !environment[variable] {
					t.Errorf("%s: %s is not told %s", mode, name, variable)
				}
			}
			if limited := !berth.Resources.Limits.Memory().IsZero(); limited != environment["GOMEMLIMIT"] {
				t.Errorf("%s: %s: memory is limited: %v, and Go is told: %v", mode, name, limited, environment["GOMEMLIMIT"])
			}
		}
		for name, budget := range of[*policyv1.PodDisruptionBudget](objects) {
			guarded := 0
			for _, pod := range pods {
				if selects(budget.Spec.Selector.MatchLabels, pod.Labels) {
					guarded++
				}
			}
			if guarded != 1 || *budget.Spec.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
				t.Errorf("%s: %s guards %d Deployments", mode, name, guarded)
			}
		}
	}
}

// TestDistributedPods: one on each node knows its node, elects nobody, admits nothing, and is the only one that makes volumes of the node.
func TestDistributedPods(t *testing.T) {
	objects := rendered(t, "testdata/values/distributed.yaml", apiVersions()...)
	for name := range of[*appsv1.Deployment](objects) {
		if name != "Deployment pool-berth-admission" {
			t.Errorf("there is %s", name)
		}
	}
	set, ok := objects["DaemonSet pool-berth"].(*appsv1.DaemonSet)
	if !ok {
		t.Fatal("there is no DaemonSet")
	}
	if surge := set.Spec.UpdateStrategy.RollingUpdate.MaxSurge; surge != nil {
		t.Errorf("a node may have two: %v", surge)
	}
	spec := &set.Spec.Template.Spec
	berth := berthOf(t, spec)
	flags := flagsOf(berth)
	for flag, want := range map[string]string{
		"components": "provisioner,capacity", "node-deployment": "true", "node-deployment-base-delay": "5s", "capacity-ownerref-level": "0",
		"leader-election": "", "admission-address": "", "driver-name": "pool.csi.example.com",
	} {
		if flags[flag] != want {
			t.Errorf("--%s is %q, want %q", flag, flags[flag], want)
		}
	}
	told := false
	for _, variable := range berth.Env {
		told = told || variable.Name == "NODE_NAME" && variable.ValueFrom.FieldRef.FieldPath == "spec.nodeName"
	}
	if !told {
		t.Error("Berth is not told its node")
	}
	if security := berth.SecurityContext; *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem || len(security.Capabilities.Drop) != 1 {
		t.Errorf("Berth's container may %+v", security)
	}
	for name, budget := range of[*policyv1.PodDisruptionBudget](objects) {
		if selects(budget.Spec.Selector.MatchLabels, set.Spec.Template.Labels) {
			t.Errorf("%s holds up the draining of nodes", name)
		}
	}
	if said := refused(t, "helm4", leastValues, "--set", "topology=distributed"); !strings.Contains(said, "has to be a hostPath") {
		t.Errorf("a socket that the kubelet cannot see is refused with %s", said)
	}
}

// TestDriverIsPluggedIn: whatever form it is given in, it has the socket where Berth looks for it.
func TestDriverIsPluggedIn(t *testing.T) {
	tests := map[string]string{
		"by image":            "",
		"as a map":            "driver: {container: {name: csi-driver, image: example/pool, volumeMounts: [{name: state, mountPath: /state}]}}",
		"as text":             "driver: {container: 'image: \"example/{{ .Release.Name }}\"'}",
		"with its own mount":  "driver: {container: {image: a, volumeMounts: [{name: socket-dir, mountPath: /csi}]}}",
		"with its own socket": "driver: {container: {image: a, env: [{name: CSI_ENDPOINT, value: 'unix:///csi/csi.sock'}]}}",
	}
	for name, values := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			extra := "extraVolumes: [{name: state, emptyDir: {}}]\n" + values
			objects := rendered(t, leastValues, "--values", valuesFile(t, extra))
			spec := objects["Deployment pool-berth"].(*appsv1.Deployment).Spec.Template.Spec
			if len(spec.Containers) != 2 {
				t.Fatalf("there are %d containers", len(spec.Containers))
			}
			driver, sockets, endpoints := spec.Containers[1], 0, 0
			for _, mount := range driver.VolumeMounts {
				if mount.Name == "socket-dir" && mount.MountPath == "/csi" {
					sockets++
				}
			}
			for _, variable := range driver.Env {
				if variable.Name == "CSI_ENDPOINT" && variable.Value == "unix:///csi/csi.sock" {
					endpoints++
				}
			}
			if driver.Name != "csi-driver" || sockets != 1 || endpoints != 1 {
				t.Errorf("the driver is %+v", driver)
			}
			if got := flagsOf(berthOf(t, &spec))["csi-address"]; got != "/csi/csi.sock" {
				t.Errorf("Berth looks at %s", got)
			}
		})
	}
}

// TestTokenIsBerthsAlone: what the vendor brings gets no rights of Berth's, unless that is asked for.
func TestTokenIsBerthsAlone(t *testing.T) {
	spec := rendered(t, leastValues)["Deployment pool-berth"].(*appsv1.Deployment).Spec.Template.Spec
	if *spec.AutomountServiceAccountToken {
		t.Error("every container has the token")
	}
	for _, container := range spec.Containers {
		has := false
		for _, mount := range container.VolumeMounts {
			has = has || strings.HasPrefix(mount.MountPath, "/var/run/secrets/kubernetes.io")
		}
		if has != (container.Name == "berth") {
			t.Errorf("%s has a token: %v", container.Name, has)
		}
	}
}

// TestAdmissionNeedsNoDriver: with topology split, Pods of the webhooks have nothing of the driver's.
func TestAdmissionNeedsNoDriver(t *testing.T) {
	objects := rendered(t, "testdata/values/split.yaml", apiVersions()...)
	admission := objects["Deployment pool-berth-admission"].(*appsv1.Deployment).Spec.Template.Spec
	flags := flagsOf(berthOf(t, &admission))
	if len(admission.Containers) != 1 || flags["components"] != "webhook" || flags["csi-address"] != "" || flags["driver-name"] != "pool.csi.example.com" {
		t.Errorf("admission is %+v", admission.Containers)
	}
	controller := objects["Deployment pool-berth"].(*appsv1.Deployment).Spec.Template.Spec
	if got := flagsOf(berthOf(t, &controller))["components"]; got != "provisioner,capacity" {
		t.Errorf("the controller runs %s", got)
	}
	if admission.ServiceAccountName == controller.ServiceAccountName {
		t.Error("they share a service account")
	}
}
