{{/*
A role and its binding: root, name, component, account, rules, and cluster if it is for the whole cluster.
*/}}
{{- define "berth.role" -}}
{{- $prefix := ternary "Cluster" "" (default false .cluster) }}
{{- $name := printf "%s-%s" (include "berth.fullname" .root) .name }}
{{- if .cluster }}{{ $name = printf "%s.%s" .name (include "berth.clusterName" .root) }}{{ end }}
{{- $metadata := include "berth.metadata" (dict "root" .root "name" $name "component" .component "cluster" .cluster) }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
{{ $metadata }}
rules:
  {{- .rules | trim | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
{{ $metadata }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
