{{/* CEL: the class of a claim, from the name of the variable. The annotation is older, and goes first where it is. */}}
{{- define "berth.cel.class" -}}
{{ . }}.metadata.?annotations[?"volume.beta.kubernetes.io/storage-class"].orValue({{ . }}.spec.?storageClassName.orValue(""))
{{- end }}

{{/* CEL: an annotation's value, or nothing: variable, key. */}}
{{- define "berth.cel.annotation" -}}
{{ .variable }}.metadata.?annotations[?{{ .key | quote }}]
{{- end }}

{{/* The namespaces whose claims are reviewed. Not the release's: what this chart installs must not depend on itself. */}}
{{- define "berth.namespaceSelector" -}}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values: [{{ .Release.Namespace }}]
    - key: {{ .Values.admission.optOutLabel }}
      operator: NotIn
      values: [ignore]
    {{- with .Values.admission.namespaceSelectorExpressions }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Where the webhook is: root, path. There is no caBundle in it: the process writes that, or whoever injects certificates. */}}
{{- define "berth.clientConfig" -}}
clientConfig:
  {{- if .root.Values.admission.url }}
  url: {{ trimSuffix "/" .root.Values.admission.url }}{{ .path }}
  {{- else }}
  service:
    name: {{ include "berth.admissionName" .root }}
    namespace: {{ .root.Release.Namespace }}
    path: {{ .path }}
    port: {{ .root.Values.admission.service.port }}
  {{- end }}
{{- end }}

{{/* Annotations of a webhook configuration. */}}
{{- define "berth.webhookAnnotations" -}}
{{- if eq .Values.admission.certificates.mode "certManager" }}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/{{ include "berth.admissionName" . }}
{{- end }}
{{- with .Values.admission.annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
