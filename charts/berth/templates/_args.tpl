{{/*
Arguments of Berth's container, from root and component: controller, node or admission. Only what differs from the program's defaults is passed, or
what this chart depends on.
*/}}
{{- define "berth.args" -}}
{{- $v := .root.Values }}
{{- $components := list }}
{{- if eq .component "admission" }}
{{- $components = list "webhook" }}
{{- else }}
{{- $components = list "provisioner" }}
{{- if $v.capacity.enabled }}{{ $components = append $components "capacity" }}{{ end }}
{{- if and $v.admission.enabled (eq $v.topology "combined") }}{{ $components = append $components "webhook" }}{{ end }}
{{- end }}
- --components={{ join "," $components }}
- --driver-name={{ $v.driver.name }}
{{- if ne .component "admission" }}
- --csi-address={{ $v.driver.socket.directory }}/{{ $v.driver.socket.file }}
{{- if eq .component "node" }}
- --node-deployment
{{- $d := $v.distributed }}
{{- if not (kindIs "invalid" $d.immediateBinding) }}
- --node-deployment-immediate-binding={{ $d.immediateBinding }}
{{- end }}
{{- with $d.baseDelay }}
- --node-deployment-base-delay={{ . }}
{{- end }}
{{- with $d.maxDelay }}
- --node-deployment-max-delay={{ . }}
{{- end }}
{{- end }}
{{- include "berth.provisionerArgs" .root }}
{{- if $v.capacity.enabled }}
- --enable-capacity
- --capacity-ownerref-level={{ include "berth.ownerLevel" .root }}
- --capacity-for-immediate-binding={{ $v.capacity.forImmediateBinding }}
{{- with $v.capacity.pollInterval }}
- --capacity-poll-interval={{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (kindIs "invalid" $v.provisioner.preventVolumeModeConversion) }}
- --prevent-volume-mode-conversion={{ $v.provisioner.preventVolumeModeConversion }}
{{- end }}
{{- if has "webhook" $components }}
{{- include "berth.admissionArgs" .root }}
{{- end }}
{{- with $v.featureGates }}
{{- $gates := list }}
{{- range $gate, $on := . }}{{ $gates = append $gates (printf "%s=%t" $gate $on) }}{{ end }}
- --feature-gates={{ join "," $gates }}
{{- end }}
{{- if and $v.leaderElection.enabled (ne .component "node") }}
- --leader-election
- --leader-election-lease-duration={{ $v.leaderElection.leaseDuration }}
- --leader-election-renew-deadline={{ $v.leaderElection.renewDeadline }}
- --leader-election-retry-period={{ $v.leaderElection.retryPeriod }}
{{- end }}
- --http-endpoint=:{{ $v.http.port }}
{{- if $v.http.pprof }}
- --enable-pprof
{{- end }}
{{- if $v.http.authorization }}
- --http-authorization
{{- end }}
{{- if $v.http.tls.secretName }}
- --http-certificate-file=/etc/berth/http-tls/tls.crt
- --http-key-file=/etc/berth/http-tls/tls.key
{{- end }}
{{- if $v.tracing.endpoint }}
- --tracing-config-file=/etc/berth/tracing/tracing.yaml
{{- end }}
- --logging-format={{ $v.log.format }}
- -v={{ $v.log.level }}
{{- end }}

{{/* Which owner of a Pod owns the objects that it publishes. */}}
{{- define "berth.ownerLevel" -}}
{{- eq .Values.topology "distributed" | ternary .Values.distributed.capacityOwnerrefLevel .Values.capacity.ownerrefLevel }}
{{- end }}

{{- define "berth.provisionerArgs" -}}
{{- $flags := dict
  "timeout" "timeout"
  "startupTimeout" "startup-timeout"
  "workerThreads" "worker-threads"
  "retryIntervalStart" "retry-interval-start"
  "retryIntervalMax" "retry-interval-max"
  "defaultFsType" "default-fstype"
  "extraCreateMetadata" "extra-create-metadata"
  "strictTopology" "strict-topology"
  "immediateTopology" "immediate-topology"
  "topologyLimit" "topology-limit"
  "volumeNamePrefix" "volume-name-prefix"
  "volumeNameUuidLength" "volume-name-uuid-length"
  "controllerPublishReadonly" "controller-publish-readonly"
  "journal" "journal"
  "expressBinding" "express-binding" }}
{{- range $value, $flag := $flags }}
{{- $set := index $.Values.provisioner $value }}
{{- if not (kindIs "invalid" $set) }}
- --{{ $flag }}={{ include "berth.scalar" $set }}
{{- end }}
{{- end }}
- --shutdown-grace={{ .Values.provisioner.shutdownGraceSeconds }}s
{{- end }}

{{/* A scalar as a flag takes it: numbers of a values file are floats. */}}
{{- define "berth.scalar" -}}
{{- if kindIs "float64" . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- define "berth.admissionArgs" -}}
{{- $a := .Values.admission }}
- --admission-address=:{{ $a.port }}
{{- if eq $a.certificates.mode "selfManaged" }}
- --admission-certificates=self-managed
- --admission-secret={{ include "berth.authoritySecret" . }}
- --admission-service-names={{ include "berth.serviceNames" . | fromYamlArray | join "," }}
{{- else }}
- --admission-certificates=files
- --admission-certificate-file=/etc/berth/tls/tls.crt
- --admission-key-file=/etc/berth/tls/tls.key
{{- end }}
{{- with include "berth.mutatingConfigurations" . }}
- --admission-mutating-configurations={{ . }}
{{- end }}
{{- with include "berth.validatingConfigurations" . }}
- --admission-validating-configurations={{ . }}
{{- end }}
- --admission-match-classes={{ $a.matchClasses }}
{{- if not $a.topology }}
- --admission-topology=false
{{- end }}
{{- with $a.tlsMinVersion }}
- --admission-tls-min-version={{ . }}
{{- end }}
{{- with $a.tlsCipherSuites }}
- --admission-tls-cipher-suites={{ join "," . }}
{{- end }}
{{- if $a.client.caConfigMap }}
- --admission-client-ca-file=/etc/berth/client-ca/ca.crt
{{- with $a.client.names }}
- --admission-client-names={{ join "," . }}
{{- end }}
{{- end }}
- --admission-drain={{ $a.drainSeconds }}s
{{- if $a.requireSourceVolumeMode }}
- --admission-require-source-volume-mode
{{- end }}
{{- with $a.trustedSnapshotUsers }}
- --admission-trusted-snapshot-users={{ join "," . }}
{{- end }}
{{- end }}

{{/* Names that API servers call the webhooks by, as a YAML list. */}}
{{- define "berth.serviceNames" -}}
{{- $service := include "berth.admissionName" . }}
{{- $names := list (printf "%s.%s.svc" $service .Release.Namespace) }}
{{- with .Values.admission.url }}{{ $names = append $names (urlParse .).hostname }}{{ end }}
{{- concat $names .Values.admission.extraNames | uniq | toYaml }}
{{- end }}
