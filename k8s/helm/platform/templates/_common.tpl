{{- /*
The same text in every chart, and a test holds the copies equal. A library chart would share it, at the price of a
`helm dependency update` in each of them before the one that counts.
*/ -}}

{{- /* An image by digest; by tag only where digests are not asked for. Takes root and the image's name. */ -}}
{{- define "cn.image" -}}
{{- $images := .root.Values.global.images | default dict -}}
{{- $image := required (printf "global.images.%s is missing" .name) (index $images .name) -}}
{{- $registry := $image.registry | default .root.Values.global.registry -}}
{{- $repository := required (printf "global.images.%s.repository is missing" .name) $image.repository -}}
{{- $from := ternary (printf "%s/%s" $registry $repository) $repository (not (empty $registry)) -}}
{{- if $image.digest -}}
{{ $from }}@{{ $image.digest }}
{{- else if .root.Values.global.requireDigests -}}
{{ fail (printf "global.images.%s.digest is missing, and global.requireDigests is set" .name) }}
{{- else -}}
{{ $from }}:{{ required (printf "global.images.%s has neither digest nor tag" .name) $image.tag }}
{{- end -}}
{{- end -}}

{{- /* Labels of every object. Takes root and component. */ -}}
{{- define "cn.labels" -}}
{{ include "cn.selector" . }}
app.kubernetes.io/part-of: controlnet
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- /* Labels that select an object's pods, and stay as they are for ever. Takes root and component. */ -}}
{{- define "cn.selector" -}}
controlnet.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- /* Of pods: what Pod Security's "restricted" asks for. */ -}}
{{- define "cn.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Of containers, likewise; and nothing of the image can be written. */ -}}
{{- define "cn.containerSecurity" -}}
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Egress to the cluster's DNS: without it a policy that allows a name allows nothing. */ -}}
{{- define "cn.dns" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
      podSelector: {matchLabels: {k8s-app: kube-dns}}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end -}}

{{- /* Egress to what Azure keeps outside the cluster: identity and storage, by TLS; never the nodes' metadata service. */ -}}
{{- define "cn.azure" -}}
- to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.169.254/32]}}]
  ports: [{port: 443, protocol: TCP}]
{{- end -}}
