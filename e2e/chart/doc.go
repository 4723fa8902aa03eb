// Package chart tests charts/berth without a cluster: what real Helm 3 and Helm 4 make of it, and whether the API server, Prometheus, Grafana and
// the process itself would take that.
//
// Objects are decoded strictly into the types of their APIs, which takes the place of kubeconform: its schemas would have to be downloaded, and
// the types know the same fields. Match conditions are compiled and evaluated by the API server's own code, Pods by that of its Pod security
// admission, alerts by Prometheus' parser.
//
// It is a module of its own, so that Helm and Prometheus are no dependencies of the product, and it meets bin/berth from outside. The Makefile
// builds bin/helm3, bin/helm4 and bin/helm-docs from what this module pins.
package chart
