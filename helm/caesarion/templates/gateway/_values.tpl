{{/* What the gateway reads beside its variables, as caesarion_hub.values.gateway knows it. */}}
{{- define "caesarion.gatewayValues" -}}
{{- $gateway := pick .Values.gateway "model" "upstreams" "prices" "budgets" "limits" "groups"
  "aliases" "requests" "reservations" "audit" "openMetrics" "retentionDays" -}}
{{- if include "caesarion.ledgerVolume" . -}}
{{- $_ := set $gateway "database" (dict "url" "sqlite:////srv/gateway/gateway.sqlite") -}}
{{- else if .Values.gateway.database.url -}}
{{- $_ := set $gateway "database" (pick .Values.gateway.database "url") -}}
{{- end -}}
{{- toJson $gateway -}}
{{- end -}}

{{/* The volume of the ledger; empty if there is none. */}}
{{- define "caesarion.ledgerVolume" -}}
{{- if and .Values.gateway.database.pvc.enabled (not .Values.gateway.database.url) -}}
{{- include "caesarion.fullname" . }}-gateway
{{- end -}}
{{- end -}}

{{/*
Where the pod runs. A volume is on one node at a time, so a pod that takes
another's place starts beside it; SQLite lets both in.
*/}}
{{- define "caesarion.gatewayPlace" -}}
{{- $place := pick .Values.gateway "nodeSelector" "tolerations" "affinity" | deepCopy -}}
{{- if include "caesarion.ledgerVolume" . -}}
{{- $alike := include "caesarion.selectorLabels" (dict "root" . "component" "gateway") | fromYaml -}}
{{- $beside := dict "topologyKey" "kubernetes.io/hostname" "labelSelector" (dict "matchLabels" $alike) -}}
{{- $others := dig "podAffinity" "requiredDuringSchedulingIgnoredDuringExecution" list $place.affinity -}}
{{- $required := dict "requiredDuringSchedulingIgnoredDuringExecution" (append $others $beside) -}}
{{- $pods := merge $required (dig "podAffinity" dict $place.affinity) -}}
{{- $_ := set $place "affinity" (merge (dict "podAffinity" $pods) $place.affinity) -}}
{{- end -}}
{{- toJson $place -}}
{{- end -}}
