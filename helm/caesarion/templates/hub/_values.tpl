{{/*
The hub's values file, in the form of caesarion_hub.values. Sections and keys are
picked by name, because caesarion_hub.values refuses unknown keys.
*/}}
{{- define "caesarion.hubValues" -}}
{{- $name := include "caesarion.fullname" . -}}
{{- $hub := pick .Values.hub "baseUrl" "subdomainHost" "stickyCookie" "config" "allowNamedServers" "namedServerLimitPerUser"
  "concurrentSpawnLimit" "activeServerLimit" "consecutiveFailureLimit" "loadRoles" "services" -}}
{{- $_ := set $hub "db" (dict "url" (include "caesarion.dbUrl" .)) -}}
{{- $singleuser := omit .Values.singleuser "namespace" "networkPolicy" "resourceQuota" "limitRange" -}}
{{- $_ := set $singleuser "image" (merge (dict
  "tag" (.Values.singleuser.image.tag | default .Chart.AppVersion)
  "pullSecrets" (concat .Values.imagePullSecrets .Values.singleuser.image.pullSecrets | uniq)) .Values.singleuser.image) -}}
{{- /* Helm drops a key that is null, and the hub would use its default: pass the null on. */ -}}
{{- range $key, $none := dict
  "memory" (fromYaml "{guarantee: null, limit: null}")
  "cpu" (fromYaml "{guarantee: null, limit: null, startLimit: null}") -}}
{{- $_ := set $singleuser $key (mergeOverwrite $none (get $singleuser $key)) -}}
{{- end -}}
{{- $cluster := dict
  "name" $name
  "release" .Release.Name
  "namespace" .Release.Namespace
  "userNamespace" (include "caesarion.userNamespace" .)
  "hubUrl" (printf "http://%s-hub.%s:8081" $name .Release.Namespace)
  "proxyApiUrl" (printf "http://%s-proxy-api:8001" $name)
  "gatewayUrl" (printf "http://%s-gateway.%s" $name .Release.Namespace)
  "apiUrl" (printf "http://%s-api.%s" $name .Release.Namespace)
  "labels" (include "caesarion.releaseLabels" . | fromYaml)
-}}
{{- if and .Values.scheduling.podPriority.enabled (not $singleuser.priorityClassName) -}}
{{- $_ := set $singleuser "priorityClassName" (printf "%s-default" (include "caesarion.priorityClassPrefix" .)) -}}
{{- end -}}
{{- dict
  "auth" (omit .Values.auth "userPassword" "adminPassword")
  "hub" $hub
  "singleuser" $singleuser
  "agent" .Values.agent
  "gateway" (pick .Values.gateway "model" "baseUrl")
  "api" (pick .Values.api "enabled" "origins" "sandboxes")
  "cull" .Values.cull
  "monitoring" (dict
    "logs" .Values.monitoring.logs "traces" (omit .Values.monitoring.traces "collectorNamespace"))
  "cluster" $cluster
  | toJson -}}
{{- end -}}

{{- define "caesarion.dbUrl" -}}
{{- if eq .Values.hub.db.type "postgres" -}}
{{- .Values.hub.db.url -}}
{{- else -}}
sqlite:////srv/jupyterhub/jupyterhub.sqlite
{{- end -}}
{{- end -}}
