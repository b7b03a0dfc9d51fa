{{/*
What the monitors, the rules and the network policies have in common.
*/}}

{{/* The ingress rule for Prometheus, if the chart has monitors: (dict "root" $ "port" 8081). */}}
{{- define "caesarion.prometheusRule" -}}
{{- with .root.Values.monitoring.serviceMonitor -}}
{{- if .enabled -}}
# Prometheus; the metrics need a token, except the proxy's.
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .prometheusNamespace | quote }}
  ports:
    - protocol: TCP
      port: {{ $.port }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The head of an alert: (dict "root" $ "alert" "CaesarionX" "severity" "warning"). */}}
{{- define "caesarion.alertLabels" -}}
labels:
  severity: {{ .severity }}
  release: {{ .root.Release.Name | quote }}
{{- end -}}

{{/* A regular expression for the hosts of the ingress, the route and hub.subdomainHost; empty if there are none. */}}
{{- define "caesarion.hostPattern" -}}
{{- $hosts := include "caesarion.hosts" (dict "root" . "hosts" (concat
  (ternary .Values.ingress.hosts list .Values.ingress.enabled)
  (ternary .Values.httpRoute.hostnames list .Values.httpRoute.enabled))) | fromJsonArray -}}
{{- $plain := list -}}
{{- range $hosts -}}
{{- if not (contains "*" .) -}}
{{- $plain = append $plain (regexQuoteMeta .) -}}
{{- end -}}
{{- end -}}
{{- join "|" $plain -}}
{{- end -}}
