{{/* Variables that the chart owns first, then settings, other variables and references to Secrets. Folders lie below
their mounts: a mount belongs to root, and the gateway closes what it keeps to all others. */}}
{{- define "gateway.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: GATEWAY_HOST, value: "0.0.0.0"}
- {name: GATEWAY_PORT, value: {{ .Values.ports.http | quote }}}
{{- if .Values.ports.admin }}
- {name: GATEWAY_ADMIN_PORT, value: {{ .Values.ports.admin | quote }}}
{{- end }}
- {name: GATEWAY_POLICIES, value: /etc/gateway/policies}
- {name: GATEWAY_DATA_DIR, value: /var/lib/gateway/data}
- {name: GATEWAY_GRACE_SECONDS, value: {{ .Values.drain.longestStreamSeconds | quote }}}
{{- if .Values.audit.existingClaim }}
- {name: GATEWAY_AUDIT_DIR, value: /var/lib/gateway-audit/$(POD_NAME)}
{{- end }}
{{- if .Values.artefacts.existingClaim }}
- {name: GATEWAY_ARTEFACTS, value: /var/lib/gateway-artefacts/jobs}
{{- end }}
{{- if not .Values.ledger.enabled }}
- {name: GATEWAY_LEDGER_URL, value: none}
{{- end }}
{{- if and .Values.airGapped (not .Values.settings.GATEWAY_CHAT_URLS) }}
- {name: GATEWAY_CHAT_URLS, value: refuse}
{{- end }}
{{- range $name, $value := merge (dict) .Values.settings .Values.env }}
- {name: {{ $name }}, value: {{ include "gateway.text" $value | quote }}}
{{- end }}
{{- range $name, $at := .Values.secrets }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $at.secret }}, key: {{ $at.key }}}}
{{- end }}
{{- end }}

{{- define "gateway.mounts" -}}
- {name: policies, mountPath: /etc/gateway/policies, readOnly: true}
- {name: data, mountPath: /var/lib/gateway}
- {name: tmp, mountPath: /tmp}
{{- if .Values.audit.existingClaim }}
- {name: audit, mountPath: /var/lib/gateway-audit}
{{- end }}
{{- if .Values.artefacts.existingClaim }}
- {name: artefacts, mountPath: /var/lib/gateway-artefacts}
{{- end }}
{{- range .Values.secretFiles }}
- {name: secret-{{ .path }}, mountPath: /run/secrets/{{ .path }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "gateway.volumes" -}}
- name: policies
  configMap:
    name: {{ include "gateway.policiesConfigMap" . }}
    {{- if .Values.policies }}
    items:
      {{- range $name, $text := .Values.policies }}
      - {key: {{ $name | replace "/" "." }}, path: {{ $name }}}
      {{- end }}
    {{- else if .Values.policiesItems }}
    items: {{- toYaml .Values.policiesItems | nindent 6 }}
    {{- end }}
- name: data
  {{- if .Values.data.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .Values.data.existingClaim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .Values.data.sizeLimit }}}
  {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- if .Values.audit.existingClaim }}
- name: audit
  persistentVolumeClaim: {claimName: {{ .Values.audit.existingClaim }}}
{{- end }}
{{- if .Values.artefacts.existingClaim }}
- name: artefacts
  persistentVolumeClaim: {claimName: {{ .Values.artefacts.existingClaim }}}
{{- end }}
{{- range .Values.secretFiles }}
- name: secret-{{ .path }}
  secret: {secretName: {{ .secret }}, defaultMode: 0440}
{{- end }}
{{- end }}
