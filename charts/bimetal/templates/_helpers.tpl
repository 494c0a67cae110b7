{{- define "bimetal.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "bimetal.proxy" -}}
{{ include "bimetal.fullname" . }}-proxy
{{- end -}}

{{- define "bimetal.server" -}}
{{ .Values.server.service | default (printf "%s-echo-server" (include "bimetal.fullname" .)) }}
{{- end -}}

{{/* The full name: a resolver without search domains finds it, and so does Istio's routing by host. */}}
{{- define "bimetal.serverHost" -}}
{{ include "bimetal.server" . }}.{{ .Release.Namespace }}.svc.{{ .Values.mesh.clusterDomain }}
{{- end -}}

{{- define "bimetal.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What never changes in a Deployment: (list root component); an empty component is all of them. */}}
{{- define "bimetal.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* (list root component) */}}
{{- define "bimetal.labels" -}}
{{ include "bimetal.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{/* Labels and annotations of a pod: (list root component values). */}}
{{- define "bimetal.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $pod := index . 2 -}}
labels:
  {{- include "bimetal.labels" (list $root (index . 1)) | nindent 2 }}
  {{- with $root.Values.mesh.inject }}
  sidecar.istio.io/inject: {{ . | quote }}
  {{- end }}
  {{- with $pod.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # Another mode means other pods: the old and the new protection never overlap in one.
  bimetal/mode: {{ $root.Values.mode }}
  {{- $proxy := dict "concurrency" $root.Values.mesh.concurrency }}
  {{- if and (eq $root.Values.mode "wasm") (eq (index . 1) "proxy") }}
  {{- $_ := set $proxy "extraStatTags" $root.Values.mesh.statTags }}
  {{- end }}
  {{- with $root.Values.mesh.proxyMetadata }}
  {{- $_ := set $proxy "proxyMetadata" . }}
  {{- end }}
  proxy.istio.io/config: {{ $proxy | toJson | quote }}
  {{- with $pod.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Non-root, nothing writable, no capability. */}}
{{- define "bimetal.podSecurity" -}}
automountServiceAccountToken: false
serviceAccountName: {{ include "bimetal.fullname" . }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "bimetal.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}
