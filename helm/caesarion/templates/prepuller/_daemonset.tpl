{{/*
A DaemonSet whose pods use every image of users' servers, so that each node pulls
them: (dict "root" $ "name" "..." "annotations" (dict ...) "priority" "...").
*/}}
{{- define "caesarion.imagePuller" -}}
{{- $labels := dict "root" .root "component" "image-puller" -}}
{{- $values := .root.Values -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace | quote }}
  labels:
    {{- include "caesarion.labels" $labels | nindent 4 }}
  {{- with .annotations }}
  annotations: {{ toJson . }}
  {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "caesarion.selectorLabels" $labels | nindent 6 }}
      caesarion/puller: {{ .name }}
  updateStrategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 100%
  template:
    metadata:
      labels:
        {{- include "caesarion.selectorLabels" $labels | nindent 8 }}
        caesarion/puller: {{ .name }}
    spec:
      {{- with .priority }}
      priorityClassName: {{ . }}
      {{- end }}
      automountServiceAccountToken: false
      {{- include "caesarion.idlePod" .root | nindent 6 }}
      # Init containers run one after the other, so a node pulls each image once.
      initContainers:
        {{- range $index, $image := include "caesarion.userImages" .root | fromJsonArray }}
        - name: image-{{ $index }}
          image: {{ $image | quote }}
          imagePullPolicy: IfNotPresent
          command: [/bin/sh, -c, "true"]
          resources: {{ toJson $values.prePuller.resources }}
          securityContext:
            {{- include "caesarion.containerSecurityContext" $ | nindent 12 }}
        {{- end }}
      containers:
        - name: pause
          {{- include "caesarion.pause" .root | nindent 10 }}
          resources: {{ toJson $values.prePuller.resources }}
{{- end -}}

{{/* The images of users' servers, as a JSON list. */}}
{{- define "caesarion.userImages" -}}
{{- $images := list (include "caesarion.image" (dict "root" . "image" .Values.singleuser.image)) -}}
{{- range .Values.prePuller.extraImages -}}
{{- $images = append $images (printf "%s:%s" .name .tag) -}}
{{- end -}}
{{- if .Values.prePuller.pullProfileListImages -}}
{{- range .Values.singleuser.profileList -}}
{{- $overrides := list .kubespawner_override -}}
{{- range .profile_options -}}
{{- range .choices -}}
{{- $overrides = append $overrides .kubespawner_override -}}
{{- end -}}
{{- end -}}
{{- range $overrides -}}
{{- with . -}}
{{- with .image -}}
{{- $images = append $images . -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- uniq $images | toJson -}}
{{- end -}}
