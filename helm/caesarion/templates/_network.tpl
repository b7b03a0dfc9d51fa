{{/*
The rules of the network policies. Every policy lists both directions, so all
other traffic of its pods is denied.
*/}}

{{/* A component's pods as the peer of a rule: (dict "root" $ "component" "hub"). */}}
{{- define "caesarion.peer" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- if eq .component "singleuser-server" -}}
{{- $namespace = include "caesarion.userNamespace" .root -}}
{{- end -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ $namespace | quote }}
  podSelector:
    matchLabels:
      {{- include "caesarion.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* One rule: (dict "root" $ "way" "to" "components" (list "hub") "port" 8081). */}}
{{- define "caesarion.rule" -}}
- {{ .way }}:
    {{- range .components }}
    {{- include "caesarion.peer" (dict "root" $.root "component" .) | nindent 4 }}
    {{- end }}
  ports:
    - protocol: TCP
      port: {{ .port }}
{{- end -}}

{{/* An egress rule to the collector of traces: to the endpoint's port, in its namespace. */}}
{{- define "caesarion.toCollector" -}}
{{- with .Values.monitoring.traces }}
{{- if and .endpoint .collectorNamespace }}
{{- $url := urlParse .endpoint }}
{{- $named := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .collectorNamespace | quote }}
  ports:
    - protocol: TCP
      port: {{ $named | default (eq $url.scheme "https" | ternary 443 80) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Egress rules: those enabled in egressAllowRules, then the operator's list. */}}
{{- define "caesarion.egress" -}}
{{- $allow := .egressAllowRules -}}
{{- if $allow.kubernetesApi }}
# To any address: the API server may be a pod, a node or outside the cluster, and network
# plugins treat these differently.
- ports:
    - protocol: TCP
      port: 443
    - protocol: TCP
      port: 6443
{{- end }}
{{- if $allow.dnsPortsKubeSystemNamespace }}
# The cluster's resolver: CoreDNS, kube-dns, or NodeLocal DNSCache at its link-local address.
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchExpressions:
          - key: k8s-app
            operator: In
            values: [kube-dns, coredns, node-local-dns]
    - ipBlock:
        cidr: 169.254.20.10/32
  ports: {{ include "caesarion.dnsPorts" . }}
{{- end }}
{{- if $allow.dnsPortsPrivateIPs }}
- to:
    {{- include "caesarion.privateBlocks" . | indent 4 }}
  ports: {{ include "caesarion.dnsPorts" . }}
{{- end }}
{{- if $allow.dnsPortsCloudMetadataServer }}
- to:
    - ipBlock:
        cidr: 169.254.169.254/32
  ports: {{ include "caesarion.dnsPorts" . }}
{{- end }}
{{- if $allow.cloudMetadataServer }}
- to:
    - ipBlock:
        cidr: 169.254.169.254/32
{{- end }}
{{- if $allow.nonPrivateIPs }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          {{- include "caesarion.privateCidrs" . | nindent 10 }}
          - 0.0.0.0/8
          - 127.0.0.0/8
          - 169.254.0.0/16 # metadata servers
          - 168.63.129.16/32 # Azure's metadata server
          - 192.0.0.0/24 # an old metadata server of Oracle's
          - 198.18.0.0/15
          - 224.0.0.0/3
    # Global unicast IPv6: without private, link-local and IPv4-mapped addresses. 6to4 is excluded, too.
    - ipBlock:
        cidr: 2000::/3
        except:
          - 2002::/16
{{- end }}
{{- if $allow.privateIPs }}
- to:
    {{- include "caesarion.privateBlocks" . | indent 4 }}
{{- end }}
{{- range .egress }}
- {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "caesarion.privateCidrs" -}}
- 10.0.0.0/8
- 172.16.0.0/12
- 192.168.0.0/16
- 100.64.0.0/10
{{- end -}}

{{- define "caesarion.privateBlocks" -}}
{{- range include "caesarion.privateCidrs" . | fromYamlArray }}
- ipBlock:
    cidr: {{ . }}
{{- end }}
- ipBlock:
    cidr: fc00::/7
{{- end -}}

{{- define "caesarion.dnsPorts" -}}
[{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end -}}
