{{/* What the gateway reads beside its variables, as caesarion_hub.gateway_values knows it. */}}
{{- define "caesarion.gatewayValues" -}}
{{- pick .Values.gateway "upstreams" "database" "prices" "budgets" "limits" "groups" "aliases"
  "audit" "openMetrics" "retentionDays" | toJson -}}
{{- end -}}
