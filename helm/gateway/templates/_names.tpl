{{- define "gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "gateway.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "gateway.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "gateway.common" -}}
app.kubernetes.io/part-of: {{ include "gateway.name" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
{{ include "gateway.common" . }}
{{- end }}

{{- define "gateway.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "gateway.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "gateway.fullname" .) }}
{{- end }}

{{- define "gateway.policiesConfigMap" -}}
{{ .Values.policiesConfigMap | default (printf "%s-policies" (include "gateway.fullname" .)) }}
{{- end }}

{{/* The Service that has /metrics and /admin, and the name of its port. */}}
{{- define "gateway.adminService" -}}
{{ include "gateway.fullname" . }}{{ if .Values.ports.admin }}-admin{{ end }}
{{- end }}
{{- define "gateway.adminPortName" -}}
{{ if .Values.ports.admin }}admin{{ else }}http{{ end }}
{{- end }}

{{/* Names of namespaces where workers are found; empty: none, and then no token and no role. */}}
{{- define "gateway.discoveryNamespaces" -}}
{{ concat .Values.discovery.services .Values.discovery.pools | uniq | sortAlpha | join " " }}
{{- end }}

{{- define "gateway.agentSelector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end }}
{{- define "gateway.agentLabels" -}}
{{ include "gateway.agentSelector" . }}
{{ include "gateway.common" . }}
{{- end }}
