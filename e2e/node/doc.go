// Package node holds the stories that need a real node: a kubelet and containerd that run the chart's Pods from images of our own, and mount what the
// driver has made. They meet the cluster as an administrator does, with Helm, kubectl and the API, carry the build tag node, and need root:
//
//	make test-node NODE_RUN=Restored
//
// One cluster serves all stories but those that kill it. Each has a release of its own, of a driver of its own, in a namespace of its own, and runs beside
// the others. The driver is poold with the values that its vendor gives, e2e/driver/deploy/values.yaml.
//
// Where no node can run, one line says what is missing, and nothing is tested.
package node
