{{/*
Seconds that a Pod is given to stop. The program drains admission and lets calls finish, one beside the other, and needs up to 14 seconds more if the
API server does not answer.
*/}}
{{- define "berth.terminationGrace" -}}
{{- $needed := 0 }}
{{- if and .root.Values.admission.enabled (ne .component "node") }}{{ $needed = .root.Values.admission.drainSeconds }}{{ end }}
{{- if ne .component "admission" }}{{ $needed = max $needed .root.Values.provisioner.shutdownGraceSeconds }}{{ end }}
{{- $needed = add $needed 15 }}
{{- $given := .root.Values.terminationGracePeriodSeconds }}
{{- if kindIs "invalid" $given }}
{{- $needed }}
{{- else if lt (int64 $given) (int64 $needed) }}
{{- fail (printf "terminationGracePeriodSeconds is %d, and stopping may take %d: the longer of provisioner.shutdownGraceSeconds and admission.drainSeconds, and 15 more" (int64 $given) (int64 $needed)) }}
{{- else }}
{{- int64 $given }}
{{- end }}
{{- end }}

{{/* Berth's container, from root and component. */}}
{{- define "berth.container" -}}
{{- $v := .root.Values }}
{{- $admits := and $v.admission.enabled (or (eq .component "admission") (eq $v.topology "combined")) }}
{{- $resources := $v.resources }}
{{- if eq .component "admission" }}{{ $resources = $v.admission.deployment.resources }}{{ end }}
name: berth
image: {{ include "berth.image" (dict "root" .root "image" $v.image "tag" .root.Chart.AppVersion) }}
imagePullPolicy: {{ $v.image.pullPolicy }}
args:
  {{- include "berth.args" . | trim | nindent 2 }}
  {{- with $v.extraArgs }}
  {{- tpl (toYaml .) $.root | nindent 2 }}
  {{- end }}
  {{- if eq .component "admission" }}
  {{- with $v.admission.deployment.extraArgs }}
  {{- tpl (toYaml .) $.root | nindent 2 }}
  {{- end }}
  {{- end }}
env:
  - name: POD_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  - name: POD_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  {{- if eq .component "node" }}
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- end }}
  {{- if ($resources.limits).memory }}
  - name: GOMEMLIMIT
    valueFrom:
      resourceFieldRef:
        containerName: berth
        resource: limits.memory
        divisor: "1"
  {{- end }}
  {{- with $v.extraEnv }}
  {{- tpl (toYaml .) $.root | nindent 2 }}
  {{- end }}
ports:
  - name: http
    containerPort: {{ $v.http.port }}
    protocol: TCP
  {{- if $admits }}
  - name: admission
    containerPort: {{ $v.admission.port }}
    protocol: TCP
  {{- end }}
startupProbe:
  httpGet:
    path: /livez
    port: http
    {{- if $v.http.tls.secretName }}
    scheme: HTTPS
    {{- end }}
  {{- toYaml $v.probes.startup | nindent 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: http
    {{- if $v.http.tls.secretName }}
    scheme: HTTPS
    {{- end }}
  {{- toYaml $v.probes.liveness | nindent 2 }}
readinessProbe:
  httpGet:
    path: /readyz
    port: http
    {{- if $v.http.tls.secretName }}
    scheme: HTTPS
    {{- end }}
  {{- toYaml $v.probes.readiness | nindent 2 }}
{{- with $resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- eq .component "node" | ternary $v.distributed.securityContext $v.securityContext | toYaml | nindent 2 }}
{{- $mounts := include "berth.mounts" . }}
{{- if $mounts }}
volumeMounts:
  {{- $mounts | trim | nindent 2 }}
{{- end }}
{{- end }}

{{- define "berth.mounts" -}}
{{- $v := .root.Values }}
{{- if ne .component "admission" }}
- name: socket-dir
  mountPath: {{ $v.driver.socket.directory }}
{{- end }}
{{- if not $v.serviceAccount.automount }}
- name: berth-token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- if and $v.admission.enabled (or (eq .component "admission") (eq $v.topology "combined")) }}
{{- if ne $v.admission.certificates.mode "selfManaged" }}
- name: admission-tls
  mountPath: /etc/berth/tls
  readOnly: true
{{- end }}
{{- if $v.admission.client.caConfigMap }}
- name: admission-client-ca
  mountPath: /etc/berth/client-ca
  readOnly: true
{{- end }}
{{- end }}
{{- if $v.http.tls.secretName }}
- name: http-tls
  mountPath: /etc/berth/http-tls
  readOnly: true
{{- end }}
{{- if $v.tracing.endpoint }}
- name: tracing
  mountPath: /etc/berth/tracing
  readOnly: true
{{- end }}
{{- if ne .component "admission" }}
{{- with $v.extraVolumeMounts }}
{{ tpl (toYaml .) $.root }}
{{- end }}
{{- end }}
{{- end }}

{{- define "berth.volumes" -}}
{{- $v := .root.Values }}
{{- if ne .component "admission" }}
- name: socket-dir
  {{- if $v.driver.external.hostPath }}
  hostPath:
    path: {{ $v.driver.external.hostPath }}
    type: Directory
  {{- else if $v.driver.socket.volume }}
  {{- toYaml $v.driver.socket.volume | nindent 2 }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}
{{- if not $v.serviceAccount.automount }}
# What Kubernetes mounts into all containers by itself, for Berth's alone.
- name: berth-token
  projected:
    defaultMode: 0444
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                apiVersion: v1
                fieldPath: metadata.namespace
{{- end }}
{{- if and $v.admission.enabled (or (eq .component "admission") (eq $v.topology "combined")) }}
{{- if ne $v.admission.certificates.mode "selfManaged" }}
- name: admission-tls
  secret:
    secretName: {{ include "berth.servingSecret" .root }}
    {{- if eq $v.admission.certificates.mode "existingSecret" }}
    items:
      - key: {{ $v.admission.certificates.existingSecret.certificateKey }}
        path: tls.crt
      - key: {{ $v.admission.certificates.existingSecret.privateKeyKey }}
        path: tls.key
    {{- end }}
{{- end }}
{{- with $v.admission.client.caConfigMap }}
- name: admission-client-ca
  configMap:
    name: {{ . }}
    items:
      - key: ca.crt
        path: ca.crt
{{- end }}
{{- end }}
{{- if $v.http.tls.secretName }}
- name: http-tls
  secret:
    secretName: {{ $v.http.tls.secretName }}
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- if $v.tracing.endpoint }}
- name: tracing
  configMap:
    name: {{ include "berth.tracingName" .root }}
{{- end }}
{{- if ne .component "admission" }}
{{- with $v.extraVolumes }}
{{ tpl (toYaml .) $.root }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The driver's container, as a list of none or one. Whatever form it is given in, it gets the socket's mount and CSI_ENDPOINT if it has not got them.
*/}}
{{- define "berth.driver" -}}
{{- $d := .Values.driver }}
{{- $container := dict }}
{{- if $d.container }}
{{- if kindIs "string" $d.container }}
{{- $container = tpl $d.container . | fromYaml }}
{{- else }}
{{- $container = tpl (toYaml $d.container) . | fromYaml }}
{{- end }}
{{- if hasKey $container "Error" }}{{ fail (printf "driver.container is not a container: %s" $container.Error) }}{{ end }}
{{- if not $container.image }}{{ fail "driver.container has no image" }}{{ end }}
{{- else if $d.image.repository }}
{{- $container = dict "image" (include "berth.image" (dict "root" . "image" $d.image)) "imagePullPolicy" $d.image.pullPolicy }}
{{- range $field := list "command" "args" "env" "envFrom" "ports" "resources" "securityContext" "lifecycle" "livenessProbe" "volumeMounts" }}
{{- with index $d $field }}
{{- $wrapped := tpl (toYaml (dict "value" .)) $ | fromYaml }}
{{- $_ := set $container $field $wrapped.value }}
{{- end }}
{{- end }}
{{- else if not $d.external.hostPath }}
{{- fail "no driver: set driver.container or driver.image.repository, or driver.external.hostPath if its socket is on the node" }}
{{- end }}
{{- if $container }}
{{- if not $container.name }}{{ $_ := set $container "name" "csi-driver" }}{{ end }}
{{- $mounted := false }}
{{- range $container.volumeMounts }}{{ if eq .name "socket-dir" }}{{ $mounted = true }}{{ end }}{{ end }}
{{- if not $mounted }}
{{- $_ := set $container "volumeMounts" (prepend ($container.volumeMounts | default list) (dict "name" "socket-dir" "mountPath" $d.socket.directory)) }}
{{- end }}
{{- $told := false }}
{{- range $container.env }}{{ if eq .name "CSI_ENDPOINT" }}{{ $told = true }}{{ end }}{{ end }}
{{- if not $told }}
{{- $_ := set $container "env" (prepend ($container.env | default list) (dict "name" "CSI_ENDPOINT" "value" (printf "unix://%s/%s" $d.socket.directory $d.socket.file))) }}
{{- end }}
{{- toYaml (list $container) }}
{{- end }}
{{- end }}

{{/* A list that may be given as text: root, value, name. */}}
{{- define "berth.list" -}}
{{- if kindIs "string" .value }}
{{- tpl .value .root }}
{{- else }}
{{- tpl (toYaml .value) .root }}
{{- end }}
{{- end }}

{{/*
The Pods of a Deployment or of the DaemonSet, from root, component, and what is placed how: hostNetwork, nodeSelector, tolerations, affinity, spread,
podLabels, podAnnotations, priorityClassName.
*/}}
{{- define "berth.podTemplate" -}}
{{- $v := .root.Values -}}
metadata:
  labels:
    {{- merge (dict) (include "berth.selector" . | fromYaml) (.podLabels | default dict) $v.commonLabels | toYaml | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: berth
    {{- if $v.tracing.endpoint }}
    # It is read once.
    berth.dev/tracing: {{ include "berth.tracingConfiguration" .root | sha256sum | trunc 16 | quote }}
    {{- end }}
    {{- with merge (dict) (.podAnnotations | default dict) $v.commonAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with concat $v.global.imagePullSecrets $v.imagePullSecrets | uniq }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  serviceAccountName: {{ if eq .component "admission" }}{{ include "berth.admissionServiceAccount" .root }}{{ else }}{{ include "berth.serviceAccount" .root }}{{ end }}
  automountServiceAccountToken: {{ $v.serviceAccount.automount }}
  {{- with .priorityClassName | default $v.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $v.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- if .hostNetwork }}
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  terminationGracePeriodSeconds: {{ include "berth.terminationGrace" . }}
  {{- with $v.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .affinity }}
  affinity:
    {{- tpl (toYaml .) $.root | nindent 4 }}
  {{- end }}
  {{- with .spread }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ merge (dict) . (dict "labelSelector" (dict "matchLabels" (include "berth.selector" $ | fromYaml))) | toYaml | nindent 6 | trim }}
    {{- end }}
  {{- end }}
  {{- if ne .component "admission" }}
  {{- with $v.extraInitContainers }}
  initContainers:
    {{- include "berth.list" (dict "root" $.root "value" .) | nindent 4 }}
  {{- end }}
  {{- end }}
  containers:
    - {{ include "berth.container" . | nindent 6 | trim }}
    {{- if ne .component "admission" }}
    {{- with include "berth.driver" .root }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $v.extraContainers }}
    {{- include "berth.list" (dict "root" $.root "value" .) | nindent 4 }}
    {{- end }}
    {{- end }}
  {{- with include "berth.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}
