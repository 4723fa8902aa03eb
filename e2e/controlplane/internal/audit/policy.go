// Package audit tells the API server which requests to record, and counts those it has recorded.
package audit

// Policy records who did what to which object and how it ended, once a request, when it is answered. What every
// client does all the time and no test asks about is left out: reading leases, health and metrics.
const Policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: None
  verbs: [get, list, watch]
  resources:
  - group: coordination.k8s.io
    resources: [leases]
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/metrics*"]
- level: Metadata
`
