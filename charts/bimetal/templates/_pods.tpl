{{/* (list root image): name and tag of an image; without a tag the chart's appVersion. */}}
{{- define "bimetal.imageOf" -}}
{{- $image := index . 1 -}}
image: {{ printf "%s:%s" $image.repository ($image.tag | default (index . 0).Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end -}}

{{/* Labels and annotations of a pod that serves calls: (list root component values). */}}
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
  {{- if and (include "bimetal.wasm" $root) (eq (index . 1) "proxy") }}
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

{{/* Labels of a pod that stays out of the mesh: (list root component). A sidecar would keep a Job from ending. */}}
{{- define "bimetal.plainPodMetadata" -}}
labels:
  {{- include "bimetal.labels" . | nindent 2 }}
  sidecar.istio.io/inject: "false"
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

{{/* Where a pod goes: (list root role values); the role is a key of `nodes`. */}}
{{- define "bimetal.placement" -}}
{{- $nodes := (index . 0).Values.nodes -}}
{{- with (index . 2).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $nodes.label }}
{{- $value := index $nodes (index . 1) }}
affinity:
  nodeAffinity:
    {{- if $nodes.required }}
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
        - matchExpressions:
            - {key: {{ $nodes.label | quote }}, operator: In, values: [{{ $value | quote }}]}
    {{- else }}
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
            - {key: {{ $nodes.label | quote }}, operator: In, values: [{{ $value | quote }}]}
    {{- end }}
{{- end }}
{{- end -}}

{{/* How many pods a Deployment has, unless an autoscaler says so, and how they are replaced: a new one is
ready before an old one goes. (list values) */}}
{{- define "bimetal.rollout" -}}
{{- $auto := (index . 0).autoscaling | default dict -}}
{{- if not $auto.enabled }}
replicas: {{ (index . 0).replicas }}
{{- end }}
strategy:
  type: RollingUpdate
  rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
{{- end -}}

{{/* The least number of pods of a Deployment: (list values) */}}
{{- define "bimetal.least" -}}
{{- $auto := (index . 0).autoscaling | default dict -}}
{{- if $auto.enabled }}{{ $auto.minReplicas }}{{ else }}{{ (index . 0).replicas }}{{ end -}}
{{- end -}}
