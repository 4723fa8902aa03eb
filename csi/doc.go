// Package csi is how the rest of the project talks to a CSI driver: the connection over its unix socket, who the driver
// is and what it can do, the calls with their timeouts, what an answer means, and the conversions between CSI's and
// Kubernetes' vocabulary.
//
// Classify is the one place that reads gRPC status codes. Everybody else switches on an Outcome.
//
// It imports topology and nothing else of this project. All exported types are safe for concurrent use.
package csi
