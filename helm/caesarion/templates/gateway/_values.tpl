{{/* The gateway's values file, in the form of caesarion_hub.values.gateway. */}}
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

{{/* The name of the ledger's volume; empty if the database has a URL or the volume is disabled. */}}
{{- define "caesarion.ledgerVolume" -}}
{{- if and .Values.gateway.database.pvc.enabled (not .Values.gateway.database.url) -}}
{{- include "caesarion.fullname" . }}-gateway
{{- end -}}
{{- end -}}

{{/*
The pod's nodeSelector, tolerations and affinity. A ReadWriteOnce volume is
attached to one node, so during a rollout the new pod must start on the node of
the old one. Both may then have the SQLite file open.
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
