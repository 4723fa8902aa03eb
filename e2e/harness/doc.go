// Package harness runs the whole system on one machine, from Go: a real control plane (bin/controlplane), a real CSI
// driver (bin/poold) and Berth (bin/berth), each a process of its own. The whole-system tests, the demo and the
// benchmarks are written on it, so nothing in it knows about testing.T.
//
// From the bottom up:
//
//	Process        a child with its log file, its process group, its end tied to ours, and what it cost
//	ControlPlane   etcd, kube-apiserver, kube-controller-manager and kube-scheduler; clients, kubeconfigs, audit
//	Driver         the CSI driver: its volumes, its faults, the calls it was given
//	Berth          the program under test, with a service account that may do what its role says and nothing more
//	World          the three together, in a directory, with Close
//
// beside them are builders for the objects a story needs (objects.go) and waits that are built on watches and say what
// they saw last when they give up (wait.go).
//
// The types are safe for concurrent use, except that starting, stopping and restarting one process is the business of
// one goroutine at a time. Every child is killed by the kernel when the process that started it ends, however it ends.
package harness
