// Package topology decides where a volume may live.
//
// A Segment is a set of topology keys and values ("zone=a,rack=3"): the place a node is in, or a volume is accessible from
// (CSI spec, "Topology"). It is a comparable value, so it serves as a map key and in a work queue. Require turns a claim's
// facts (binding mode, selected node, allowed topologies, what segments there are) into the accessibility requirement of
// a CreateVolume call; NodeAffinity turns a driver's answer into a PersistentVolume's node affinity. Both are pure.
//
// Index keeps the distinct segments of a cluster, incrementally, from Node and CSINode changes, so that a claim costs as
// much as the segments in its request and never as much as the number of nodes. Index is safe for concurrent use; all
// else in this package is values and functions over them.
//
// It imports nothing of this project.
package topology
