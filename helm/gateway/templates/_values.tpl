{{/* A number as Settings reads it: values.yaml makes 268435456 a float that prints as 2.68435456e+08. */}}
{{- define "gateway.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end }}

{{/* What crosses values: the schema cannot say these clearly. */}}
{{- define "gateway.checks" -}}
{{- $several := or (gt (int .Values.replicas) 1) (ne .Values.autoscaling.kind "none") -}}
{{- if and (not .Values.policies) (not .Values.policiesConfigMap) -}}
{{- fail "policies: give the files of a policy folder, or name a ConfigMap in policiesConfigMap" -}}
{{- end -}}
{{- if and .Values.policies .Values.policiesConfigMap -}}
{{- fail "policiesConfigMap: has no effect beside policies; give one of them" -}}
{{- end -}}
{{- if and .Values.policiesItems (not .Values.policiesConfigMap) -}}
{{- fail "policiesItems: has no effect without policiesConfigMap" -}}
{{- end -}}
{{- if and $several (not .Values.secrets.GATEWAY_REDIS_URL) -}}
{{- fail "secrets.GATEWAY_REDIS_URL: several replicas need a store that they share: name the Secret that holds its URL" -}}
{{- end -}}
{{- if and $several .Values.ledger.enabled (not .Values.secrets.GATEWAY_LEDGER_URL) -}}
{{- fail "secrets.GATEWAY_LEDGER_URL: several replicas need a ledger that they share: name the Secret that holds the URL of a PostgreSQL database, or set ledger.enabled: false" -}}
{{- end -}}
{{- if and .Values.secrets.GATEWAY_LEDGER_URL (not .Values.ledger.enabled) -}}
{{- fail "secrets.GATEWAY_LEDGER_URL: has no effect beside ledger.enabled: false" -}}
{{- end -}}
{{- if and .Values.artefacts.existingClaim .Values.settings.GATEWAY_ARTEFACTS -}}
{{- fail "artefacts.existingClaim: has no effect beside settings.GATEWAY_ARTEFACTS; give one of them" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.secrets.GATEWAY_REDIS_URL (not .Values.networkPolicy.store.to) -}}
{{- fail "networkPolicy.store.to: say where the store is (ipBlock, podSelector, namespaceSelector), or nothing can reach it" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.secrets.GATEWAY_LEDGER_URL (not .Values.networkPolicy.ledger.to) -}}
{{- fail "networkPolicy.ledger.to: say where PostgreSQL is, or nothing can reach it" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (include "gateway.discoveryNamespaces" .) (not .Values.networkPolicy.kubernetesApi.to) (not .Values.networkPolicy.cilium) -}}
{{- fail "networkPolicy.kubernetesApi.to: say where the Kubernetes API is (its endpoints' addresses), or no worker is found" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.cilium (not .Values.networkPolicy.dns.to) -}}
{{- fail "networkPolicy.dns.to: say where DNS answers: Cilium knows only the names that it saw resolved" -}}
{{- end -}}
{{- if and .Values.airGapped (not .Values.networkPolicy.enabled) -}}
{{- fail "airGapped: nothing holds it without networkPolicy.enabled" -}}
{{- end -}}
{{- range $name := list "GATEWAY_CHAT_URLS" "GATEWAY_IMAGE_URLS" -}}
{{- if and $.Values.airGapped (eq (get $.Values.settings $name | default "") "fetch") -}}
{{- fail (printf "settings.%s: `fetch` beside airGapped would let each such request wait for what cannot be reached; leave it out for `refuse`" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ports.admin (eq (int .Values.ports.http) (int .Values.ports.admin)) -}}
{{- fail "ports.admin: must differ from ports.http; 0 has all on the one port" -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.kind "keda") (not .Values.autoscaling.keda.prometheus) -}}
{{- fail "autoscaling.keda.prometheus: the address of Prometheus, such as http://prometheus.monitoring:9090" -}}
{{- end -}}
{{- if and (ne .Values.autoscaling.kind "none") (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: must not be above autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: the name that clients call" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: the Gateways that take its requests" -}}
{{- end -}}
{{- if .Values.settings.GATEWAY_TLS_CERT -}}
{{- fail "settings.GATEWAY_TLS_CERT: probes, scrapes and agents speak plain HTTP to the pods; TLS of clients ends at the Ingress or the Gateway" -}}
{{- end -}}
{{- if .Values.settings.GATEWAY_LEAVE_SECONDS -}}
{{- fail "settings.GATEWAY_LEAVE_SECONDS: drain.endpointSeconds is what does that here" -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.kind "keda") (not .Values.metrics.serviceMonitor.enabled) (not .Values.autoscaling.keda.query) -}}
{{- fail "autoscaling.keda.query: the default one has the labels that a ServiceMonitor gives; enable serviceMonitor, or write the query" -}}
{{- end -}}
{{- if and .Values.agent.enabled (not .Values.agent.token) -}}
{{- fail "agent.token: name the Secret and key that hold its token" -}}
{{- end -}}
{{- end }}
