{{/* Name of the chart, in labels. */}}
{{- define "berth.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What all names begin with. Suffixes are added to it, and a Service's name has 63 characters. */}}
{{- define "berth.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "berth.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "berth.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Name of what is in no namespace: releases of one name in two namespaces must not share it. A namespace has no dot in its name. */}}
{{- define "berth.clusterName" -}}
{{- printf "%s.%s" (include "berth.fullname" .) .Release.Namespace }}
{{- end }}

{{/* Name of the Lease, as the program and csi-provisioner make it of the driver's name. */}}
{{- define "berth.lease" -}}
{{- $name := regexReplaceAll "[^A-Za-z0-9-]" .Values.driver.name "-" }}
{{- $name }}{{ if hasSuffix "-" $name }}X{{ end }}
{{- end }}

{{- define "berth.admissionName" -}}
{{- include "berth.fullname" . }}-admission
{{- end }}

{{/* Name of the Secret of the authorities. */}}
{{- define "berth.authoritySecret" -}}
{{- default (printf "%s-admission" (include "berth.lease" .)) .Values.admission.certificates.secretName }}
{{- end }}

{{/* Name of the Secret that is mounted, in the modes that have one. */}}
{{- define "berth.servingSecret" -}}
{{- if eq .Values.admission.certificates.mode "certManager" }}
{{- include "berth.admissionName" . }}-tls
{{- else }}
{{- required "admission.certificates.existingSecret.name is required with admission.certificates.mode existingSecret" .Values.admission.certificates.existingSecret.name }}
{{- end }}
{{- end }}

{{- define "berth.serviceAccount" -}}
{{- default (include "berth.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "berth.admissionServiceAccount" -}}
{{- if ne .Values.topology "combined" }}
{{- default (include "berth.admissionName" .) .Values.serviceAccount.admissionName }}
{{- else }}
{{- include "berth.serviceAccount" . }}
{{- end }}
{{- end }}

{{/* What provisions: the Pods of the Deployment beside the driver, or one on each node. */}}
{{- define "berth.mainComponent" -}}
{{- if eq .Values.topology "distributed" }}node{{ else }}controller{{ end }}
{{- end }}

{{/* Not empty, if admission has a Deployment of its own. */}}
{{- define "berth.admitsApart" -}}
{{- if and .Values.admission.enabled (ne .Values.topology "combined") }}true{{ end }}
{{- end }}

{{/* What serves admission: the Pods of the Deployment beside the driver, or those of its own. */}}
{{- define "berth.admissionComponent" -}}
{{- if ne .Values.topology "combined" }}admission{{ else }}controller{{ end }}
{{- end }}

{{/* The webhook configurations, as the flags name them. */}}
{{- define "berth.mutatingConfigurations" -}}
{{- if .Values.admission.mutating.enabled }}{{ include "berth.clusterName" . }}{{ end }}
{{- end }}
{{- define "berth.validatingConfigurations" -}}
{{- $names := list }}
{{- if .Values.admission.validating.enabled }}{{ $names = append $names (include "berth.clusterName" .) }}{{ end }}
{{- if .Values.admission.contents.enabled }}{{ $names = append $names (printf "contents.%s" (include "berth.clusterName" .)) }}{{ end }}
{{- join "," $names }}
{{- end }}

{{- define "berth.selector" -}}
app.kubernetes.io/name: {{ include "berth.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of an object; the component is optional. */}}
{{- define "berth.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "berth.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: berth
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Metadata of an object: root, name, and optionally component, cluster (in no namespace), labels, annotations. Labels and annotations of one object
may not have a key twice, so they are merged; the object's own win.
*/}}
{{- define "berth.metadata" -}}
metadata:
  name: {{ .name }}
  {{- if not .cluster }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- merge (dict) (.labels | default dict) (include "berth.labels" . | fromYaml) | toYaml | nindent 4 }}
  {{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* An image: registry, repository, tag, digest. */}}
{{- define "berth.image" -}}
{{- $registry := .root.Values.global.imageRegistry | default .image.registry }}
{{- $name := .image.repository }}
{{- if $registry }}{{ $name = printf "%s/%s" (trimSuffix "/" $registry) $name }}{{ end }}
{{- if .image.digest }}
{{- printf "%s@%s" $name .image.digest }}
{{- else if or .image.tag .tag }}
{{- printf "%s:%s" $name (.image.tag | default .tag) }}
{{- else }}
{{- $name }}
{{- end }}
{{- end }}
