{{/* Idle pods on users' nodes: placeholders, which reserve capacity, and image pullers. */}}

{{/* The pod spec of an idle pod, without its containers. */}}
{{- define "caesarion.idlePod" -}}
enableServiceLinks: false
terminationGracePeriodSeconds: 0
securityContext:
  {{- include "caesarion.podSecurityContext" . | nindent 2 }}
{{- with concat .Values.imagePullSecrets .Values.singleuser.image.pullSecrets | uniq }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.singleuser.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with concat .Values.singleuser.extraTolerations .Values.prePuller.extraTolerations | uniq }}
tolerations: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "caesarion.pause" -}}
image: {{ include "caesarion.image" (dict "root" . "image" .Values.prePuller.pause.image) | quote }}
imagePullPolicy: {{ .Values.prePuller.pause.image.pullPolicy }}
securityContext:
  {{- include "caesarion.containerSecurityContext" . | nindent 2 }}
{{- end -}}

{{/* The resources of a user's pod, for a placeholder of the same size. */}}
{{- define "caesarion.userResources" -}}
{{- $requests := deepCopy .Values.singleuser.extraResource.guarantees -}}
{{- with .Values.singleuser.cpu.guarantee -}}
{{- $_ := set $requests "cpu" (toString .) -}}
{{- end -}}
{{- with .Values.singleuser.memory.guarantee -}}
{{- $_ := set $requests "memory" (toString .) -}}
{{- end -}}
{{- dict "requests" $requests "limits" .Values.singleuser.extraResource.limits | toYaml -}}
{{- end -}}
