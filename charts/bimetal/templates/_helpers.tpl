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

{{/* A Service's full name: (list root name). A resolver without search domains finds it, and so does
Istio's routing by host. */}}
{{- define "bimetal.host" -}}
{{ index . 1 }}.{{ (index . 0).Release.Namespace }}.svc.{{ (index . 0).Values.mesh.clusterDomain }}
{{- end -}}

{{- define "bimetal.serverHost" -}}
{{- $name := include "bimetal.server" . -}}
{{- if contains "." $name -}}
{{- if .Values.server.enabled }}{{ fail (printf "server.service is %q: a Service's name has no dots; give a whole host name only with server.enabled=false" $name) }}{{ end -}}
{{ $name }}
{{- else -}}
{{ include "bimetal.host" (list . $name) }}
{{- end -}}
{{- end -}}

{{/* Whether there is an echo server to call, ours or another's. */}}
{{- define "bimetal.hasServer" -}}
{{- if or .Values.server.enabled .Values.server.service }}true{{ end -}}
{{- end -}}

{{/* Which host reads the policies: native, wasm, or both of them. */}}
{{- define "bimetal.native" -}}
{{- if has .Values.mode (list "native" "both") }}true{{ end -}}
{{- end -}}
{{- define "bimetal.wasm" -}}
{{- if has .Values.mode (list "wasm" "both") }}true{{ end -}}
{{- end -}}

{{- define "bimetal.redisUrl" -}}
{{- if .Values.redis.url -}}
{{ .Values.redis.url }}
{{- else if .Values.redis.enabled -}}
redis://{{ include "bimetal.host" (list . (printf "%s-redis" (include "bimetal.fullname" .))) }}:6379
{{- end -}}
{{- end -}}

{{/* The address of OTLP over HTTP that lines of traces are posted to. */}}
{{- define "bimetal.jaegerHost" -}}
{{ include "bimetal.host" (list . (printf "%s-jaeger" (include "bimetal.fullname" .))) }}
{{- end -}}

{{/* The collector of traces; empty where spans are lines, or nobody says where it is. */}}
{{- define "bimetal.collector" -}}
{{- if .Values.traces.endpoint -}}
{{ .Values.traces.endpoint }}
{{- else if and .Values.jaeger.enabled (eq .Values.traces.exporter "otlp_http") -}}
http://{{ include "bimetal.jaegerHost" . }}:4318
{{- else if and .Values.jaeger.enabled (eq .Values.traces.exporter "otlp_grpc") -}}
http://{{ include "bimetal.jaegerHost" . }}:4317
{{- end -}}
{{- end -}}

{{/* What both hosts get: the policy document. */}}
{{- define "bimetal.policies" -}}
{{- if ne .Values.unsupported "refuse" }}
unsupported: {{ .Values.unsupported }}
{{- end }}
policies:
  {{- toYaml .Values.policies | nindent 2 }}
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

{{/* (list root name component) */}}
{{- define "bimetal.metadata" -}}
name: {{ index . 1 }}
labels:
  {{- include "bimetal.labels" (list (index . 0) (index . 2)) | nindent 2 }}
{{- end -}}

{{/* Stops where the cluster has no such kind: (list root "group/version/Kind" "what wants it" "what brings it").
Without a cluster (helm template) nobody knows, and nothing is said. */}}
{{- define "bimetal.needs" -}}
{{- $apis := (index . 0).Capabilities.APIVersions -}}
{{- if and ($apis.Has "apps/v1/Deployment") (not ($apis.Has (index . 1))) -}}
{{- fail (printf "%s needs %s, which this cluster does not know: install %s first, or choose another value" (index . 2) (index . 1) (index . 3)) -}}
{{- end -}}
{{- end -}}

{{/* Where the filter is from, and its policy document: what WasmPlugin and TrafficExtension have alike. */}}
{{- define "bimetal.module" -}}
url: {{ required "wasm.url must say where the sidecars get the module (oci://…, https://…, http://…)" .Values.wasm.url | quote }}
{{- with .Values.wasm.sha256 }}
sha256: {{ . | quote }}
{{- end }}
imagePullPolicy: {{ .Values.wasm.pullPolicy }}
{{- with .Values.wasm.pullSecret }}
imagePullSecret: {{ . | quote }}
{{- end }}
failStrategy: {{ .Values.wasm.failStrategy }}
pluginConfig:
  version: v1
  {{- include "bimetal.policies" . | nindent 2 }}
  {{- with .Values.wasm.config }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
