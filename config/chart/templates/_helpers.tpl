{{/* The name of what this release makes: its own, where that says what it is. */}}
{{- define "wechat-token-operator.name" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 55 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 55 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/* The same for the token server. What the release is called is cut, and not what the server is. */}}
{{- define "wechat-token-server.name" -}}
{{- $release := .Values.fullnameOverride | default .Release.Name -}}
{{- if contains .Chart.Name $release -}}
{{ $release | replace .Chart.Name "wechat-token-server" }}
{{- else -}}
{{ $release | trunc 35 | trimSuffix "-" }}-wechat-token-server
{{- end -}}
{{- end -}}

{{- define "wechat-token-operator.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "wechat-token-operator.name" .) }}
{{- end -}}

{{/*
One release per namespace: the lease has one name, whatever the release is called. No value
changes these: a Deployment's selector stays what it is, and kubectl-wechattoken finds by them.
*/}}
{{- define "wechat-token-operator.selectorLabels" -}}
app.kubernetes.io/name: wechat-token-operator
{{- end -}}

{{- define "wechat-token-server.selectorLabels" -}}
app.kubernetes.io/name: wechat-token-server
{{- end -}}

{{- define "wechat-token-server.labels" -}}
{{ include "wechat-token-operator.labels" . | replace (include "wechat-token-operator.selectorLabels" .) (include "wechat-token-server.selectorLabels" .) | replace "app.kubernetes.io/component: controller" "app.kubernetes.io/component: token-server" }}
{{- end -}}

{{- define "wechat-token-operator.labels" -}}
{{ include "wechat-token-operator.selectorLabels" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: controller
app.kubernetes.io/part-of: wechat-token-operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes root, and the values of an image. */}}
{{- define "wechat-token-operator.image" -}}
{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}
{{- else }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The metadata of a program's pods. Takes its labels, and the values of its own. */}}
{{- define "wechat-token-operator.podMetadata" -}}
labels:
  {{- merge (deepCopy (.values.podLabels | default dict)) (fromYaml .labels) | toYaml | nindent 2 }}
{{- with .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What the pods of both programs have in common. Takes root, and the labels that select them. */}}
{{- define "wechat-token-operator.pod" -}}
{{- $values := .root.Values -}}
automountServiceAccountToken: true
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- /* With the hash, for an update would count the pods it replaces. */}}
  {{- $pods := dict "labelSelector" (dict "matchLabels" (fromYaml $.labels)) "matchLabelKeys" (list "pod-template-hash") }}
  {{- list (merge (deepCopy .) (hasKey . "labelSelector" | ternary dict $pods)) | toYaml | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The same for their containers. */}}
{{- define "wechat-token-operator.probes" -}}
livenessProbe:
  httpGet:
    path: /healthz
    port: health
readinessProbe:
  httpGet:
    path: /readyz
    port: health
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The flags, as a YAML list; empty where there are none. */}}
{{- define "wechat-token-operator.args" -}}
{{- $args := list -}}
{{- with .Values.namespaces }}{{ $args = append $args (printf "--namespaces=%s" (join "," .)) }}{{ end -}}
{{- with .Values.selector }}{{ $args = append $args (printf "--selector=%s" .) }}{{ end -}}
{{- with .Values.wechat.url }}{{ $args = append $args (printf "--wechat-url=%s" .) }}{{ end -}}
{{- if .Values.wechat.allowPlainHTTP }}{{ $args = append $args "--allow-plain-http" }}{{ end -}}
{{- if .Values.consumers.watch }}{{ $args = append $args "--consumers" }}{{ end -}}
{{- with .Values.workers }}{{ $args = append $args (printf "--workers=%d" (int .)) }}{{ end -}}
{{- if not .Values.leaderElection.enabled }}{{ $args = append $args "--leader-elect=false" }}{{ end -}}
{{- if not .Values.metrics.enabled }}{{ $args = append $args "--metrics-bind-address=0" }}{{ end -}}
{{- with .Values.logLevel }}{{ $args = append $args (printf "--log-level=%s" .) }}{{ end -}}
{{- with .Values.logFormat }}{{ $args = append $args (printf "--log-format=%s" .) }}{{ end -}}
{{- with concat $args .Values.extraArgs }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* 90 % of a limit of memory, for GOMEMLIMIT. The schema says what a limit looks like. */}}
{{- define "wechat-token-operator.goMemLimit" -}}
{{- $number := regexFind "^[0-9.]+" . -}}
{{- $unit := trimPrefix $number . -}}
{{- $bytes := get (dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824) $unit -}}
{{- printf "%dMiB" (int64 (floor (divf (mulf (float64 $number) $bytes 0.9) 1048576))) -}}
{{- end -}}

{{/*
Gives the operator permissions: in the namespaces of .Values.namespaces, or everywhere where
there are none. Takes root, the name of the role and its rules; and program, where it is
wechat-token-server.
*/}}
{{- define "wechat-token-operator.grant" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $rules := .rules -}}
{{- $program := .program | default "wechat-token-operator" -}}
{{- range $namespace := $root.Values.rbac.create | ternary ($root.Values.namespaces | default (list "")) list }}
{{- $kind := ternary "Role" "ClusterRole" (ne $namespace "") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include (print $program ".labels") $root | nindent 4 }}
rules:
  {{- toYaml $rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  name: {{ $name }}
  {{- with $namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include (print $program ".labels") $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $name }}
subjects:
  {{- include (print $program ".subjects") $root | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "wechat-token-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "wechat-token-operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{- define "wechat-token-server.subjects" -}}
- kind: ServiceAccount
  name: {{ include "wechat-token-server.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/*
The objects of a file of files/, with the labels of this release. Takes root and file; name,
where a policy is for this release's program alone; and program, as above.
*/}}
{{- define "wechat-token-operator.objects" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $program := .program | default "wechat-token-operator" -}}
{{- $account := index (include (print $program ".subjects") .root | fromYamlArray) 0 -}}
{{- range regexSplit "(?m)^---$" (.root.Files.Get .file | replace (printf ":%s$" $program) (printf ":%s$" $account.name)) -1 }}
{{- with fromYaml . }}
{{- $_ := set .metadata "labels" (merge (include (print $program ".labels") $root | fromYaml) (.metadata.labels | default dict)) }}
{{- if $name }}
{{- $_ := set .metadata "name" $name }}
{{- if eq .kind "ValidatingAdmissionPolicyBinding" }}{{ $_ := set .spec "policyName" $name }}{{ end }}
{{- end }}
---
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The environment, as a YAML list. */}}
{{- define "wechat-token-operator.env" -}}
{{- with ((.Values.resources).limits).memory }}
# 90 % of the limit: the garbage collector works harder before the kernel kills.
- name: GOMEMLIMIT
  value: {{ include "wechat-token-operator.goMemLimit" . }}
{{- end }}
{{- with .Values.proxy.url }}
- name: HTTPS_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if .Values.proxy.existingSecret.name }}
- name: HTTPS_PROXY
  valueFrom:
    secretKeyRef:
      {{- toYaml .Values.proxy.existingSecret | nindent 6 }}
{{- end }}
{{- if or .Values.proxy.url .Values.proxy.existingSecret.name }}
# The kubelet puts the address of the API server there, which the proxy may not reach.
- name: NO_PROXY
  value: {{ prepend $.Values.proxy.noProxy "$(KUBERNETES_SERVICE_HOST)" | join "," | quote }}
{{- end }}
{{- if or .Values.extraCA.configMap .Values.extraCA.secret }}
# Besides the first one, which is the image's.
- name: SSL_CERT_DIR
  value: /etc/ssl/certs:/etc/wechat-token-operator/ca
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The port of a URL. */}}
{{- define "wechat-token-operator.port" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (get (dict "http" "80" "https" "443") $url.scheme | default "1080") -}}
{{- end -}}
