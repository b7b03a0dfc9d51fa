{{/*
Names, labels, and the parts that all pods share. Every name of an object is
made here.
*/}}

{{/* The prefix of all names: a DNS label, short enough for the suffix "-proxy-api". */}}
{{- define "caesarion.fullname" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if not (contains "caesarion" $name) -}}
{{- $name = printf "%s-caesarion" $name -}}
{{- end -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "c-%s" $name -}}
{{- end -}}
{{- if gt (len $name) 53 -}}
{{- $name = printf "%s-%s" ($name | trunc 44 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* The namespace of the users' pods and volumes. */}}
{{- define "caesarion.userNamespace" -}}
{{- .Values.singleuser.namespace.name | default .Release.Namespace -}}
{{- end -}}

{{/* The Secret of the keys: hub.existingSecret, or the chart's. */}}
{{- define "caesarion.keysName" -}}
{{- .Values.hub.existingSecret | default (printf "%s-keys" (include "caesarion.fullname" .)) -}}
{{- end -}}

{{/* The Secret of the provider's key; empty if there is none. */}}
{{- define "caesarion.gatewaySecretName" -}}
{{- if .Values.gateway.existingSecret -}}
{{- .Values.gateway.existingSecret -}}
{{- else if .Values.gateway.apiKey -}}
{{- include "caesarion.fullname" . }}-gateway
{{- end -}}
{{- end -}}

{{/* The URL below which each user has a host name, such as https://hub.example.org; empty if unset. */}}
{{- define "caesarion.subdomainHost" -}}
{{- .Values.hub.subdomainHost | default (dig "JupyterHub" "subdomain_host" "" .Values.hub.config) -}}
{{- end -}}

{{/* A route's host names as JSON, including the users' wildcard: (dict "root" $ "hosts" (list "x")). */}}
{{- define "caesarion.hosts" -}}
{{- $hosts := .hosts -}}
{{- with include "caesarion.subdomainHost" .root -}}
{{- $host := regexReplaceAll ":[0-9]+$" (regexReplaceAll "^[a-z]+://" . "") "" -}}
{{- $hosts = concat $hosts (list $host (printf "*.%s" $host)) -}}
{{- end -}}
{{- uniq $hosts | toJson -}}
{{- end -}}

{{- define "caesarion.serviceAccountName" -}}
{{- .Values.hub.serviceAccount.name | default (printf "%s-hub" (include "caesarion.fullname" .)) -}}
{{- end -}}

{{/* PriorityClasses have no namespace, so their names include the release's. */}}
{{- define "caesarion.priorityClassPrefix" -}}
{{- printf "%s-%s" .Release.Namespace (include "caesarion.fullname" .) -}}
{{- end -}}

{{/* The labels of all pods of a release. Selectors are immutable, so there is no version here. */}}
{{- define "caesarion.releaseLabels" -}}
app.kubernetes.io/name: caesarion
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels that select one component's pods: (dict "root" $ "component" "hub"). */}}
{{- define "caesarion.selectorLabels" -}}
{{ include "caesarion.releaseLabels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of an object: (dict "root" $ "component" "hub"). */}}
{{- define "caesarion.labels" -}}
{{ include "caesarion.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (dict "root" $ "image" .Values.hub.image) */}}
{{- define "caesarion.image" -}}
{{- printf "%s:%s" .image.name (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}

{{/* Environment variables from a map: each value is a string, or an object such as valueFrom. */}}
{{- define "caesarion.env" -}}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
- {{ merge (dict "name" $name) $value | toJson }}
{{- else }}
- {{ dict "name" $name "value" (toString $value) | toJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Security contexts for Pod Security "restricted": of the pod, then of the container. */}}
{{- define "caesarion.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "caesarion.containerSecurityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The pod spec of hub, proxy or gateway, without its containers: (dict "root" $ "place" .Values.hub). */}}
{{- define "caesarion.pod" -}}
enableServiceLinks: false
securityContext:
  {{- include "caesarion.podSecurityContext" . | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .place.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .place.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .place.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- if .root.Values.scheduling.podPriority.enabled }}
priorityClassName: {{ include "caesarion.priorityClassPrefix" .root }}-default
{{- end }}
{{- end -}}

{{/*
The three probes of a path; "start" is another path for the startup probe: (dict "probes"
.Values.hub "path" "/hub/health" "port" "http" "start" "/hub/ready").
*/}}
{{- define "caesarion.probes" -}}
{{- range $kind := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- $path := ternary ($.start | default $.path) $.path (eq $kind "startupProbe") }}
{{ $kind }}:
  httpGet: {{ dict "path" $path "port" $.port | toJson }}
  {{- range $key, $value := get $.probes $kind }}
  {{ $key }}: {{ toJson $value }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
The keys: from the values, else from the Secret in the cluster, else generated.
Generated once in each run of helm, so that the Secret and the checksums agree.
*/}}
{{- define "caesarion.keys" -}}
{{- if not (hasKey .Values "madeKeys") -}}
{{- $name := printf "%s-keys" (include "caesarion.fullname" .) -}}
{{- $kept := dict -}}
{{- range $key, $value := (lookup "v1" "Secret" .Release.Namespace $name).data -}}
{{- $_ := set $kept $key (b64dec $value) -}}
{{- end -}}
{{- $keys := dict
  "user_password" (.Values.auth.userPassword | default $kept.user_password | default (randAlphaNum 16))
  "admin_password" (.Values.auth.adminPassword | default $kept.admin_password | default (randAlphaNum 40))
  "gateway_token" ($kept.gateway_token | default (randAlphaNum 64))
  "proxy_token" ($kept.proxy_token | default (randAlphaNum 64))
  "cookie_secret" ($kept.cookie_secret | default (randAlphaNum 64 | sha256sum))
  "crypt_key" ($kept.crypt_key | default (randAlphaNum 64 | sha256sum))
  "audit_key" ($kept.audit_key | default (randAlphaNum 64))
-}}
{{- if .Values.monitoring.serviceMonitor.enabled -}}
{{- $_ := set $keys "metrics_token" ($kept.metrics_token | default (randAlphaNum 64)) -}}
{{- end -}}
{{- $_ := set .Values "madeKeys" $keys -}}
{{- end -}}
{{- toJson .Values.madeKeys -}}
{{- end -}}

{{/*
A checksum of the given keys, which restarts a pod when one of them changes:
(dict "root" $ "keys" (list "proxy_token")). The content of hub.existingSecret is
not part of it.
*/}}
{{- define "caesarion.keysChecksum" -}}
{{- $made := dict -}}
{{- if not .root.Values.hub.existingSecret -}}
{{- $all := include "caesarion.keys" .root | fromJson -}}
{{- range .keys -}}
{{- $_ := set $made . (get $all .) -}}
{{- end -}}
{{- end -}}
{{- list .root.Values.hub.existingSecret $made | toJson | sha256sum -}}
{{- end -}}

{{/* An environment variable from the Secret of the keys: (dict "root" $ "name" "X" "key" "x"). */}}
{{- define "caesarion.keyVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "caesarion.keysName" .root | quote }}
      key: {{ .key }}
{{- end -}}

{{/* The budget of a PodDisruptionBudget: Kubernetes accepts one of the two fields, and 0 is valid. */}}
{{- define "caesarion.disruptions" -}}
{{- /* Do not let a broken pod block the drain of its node. */ -}}
unhealthyPodEvictionPolicy: AlwaysAllow
{{ if kindIs "invalid" .maxUnavailable -}}
minAvailable: {{ toJson .minAvailable }}
{{- else -}}
maxUnavailable: {{ toJson .maxUnavailable }}
{{- end -}}
{{- end -}}
