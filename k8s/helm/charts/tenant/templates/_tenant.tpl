{{- /*
All objects of one team. Takes root, name, team (what the cluster gives it) and platform (namespace of the platform).
The umbrella calls it for each team it declares, this chart's own release for one.
*/ -}}
{{- define "tenant.objects" -}}
{{- $team := .team -}}
{{- $namespace := printf "team-%s" .name -}}
{{- $labels := include "cn.labels" (dict "root" .root "component" "tenant") -}}
apiVersion: v1
kind: Namespace
metadata:
  name: {{ $namespace }}
  labels:
    {{- $labels | nindent 4 }}
    controlnet.io/tenant: {{ .name }}
    {{- if $team.dedicated }}
    controlnet.io/serving: "true"   # whose Ray pods may reach the registry
    {{- end }}
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/enforce-version: latest
    pod-security.kubernetes.io/warn: restricted
    pod-security.kubernetes.io/audit: restricted
---
apiVersion: v1
kind: ResourceQuota
metadata:
  name: tenant
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  hard:
    requests.cpu: {{ $team.cpu | toString | quote }}
    requests.memory: {{ $team.memory }}
    limits.memory: {{ $team.memory }}
    requests.nvidia.com/gpu: {{ $team.gpus | toString | quote }}
    pods: {{ $team.pods | toString | quote }}
    persistentvolumeclaims: {{ $team.volumes | toString | quote }}
    services.loadbalancers: "0"
    services.nodeports: "0"
---
apiVersion: v1
kind: LimitRange
metadata:
  name: tenant
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  limits:
    - type: Container
      defaultRequest: {cpu: 100m, memory: 128Mi}
      default: {memory: 512Mi}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: tenant-default-deny
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
---
# A team's pods reach names, the platform's api, and their own container in Azure by their own identity; nobody else.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: tenant-egress
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec:
  podSelector: {}
  policyTypes: [Egress]
  egress:
    {{- include "cn.dns" . | nindent 4 }}
    {{- if $team.clientId }}
    {{- include "cn.azure" . | nindent 4 }}
    {{- end }}
    - to:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ ternary $namespace .platform (eq true $team.dedicated) }}}}
          podSelector: {matchLabels: {controlnet.io/component: api}}
      ports: [{port: 8000, protocol: TCP}]
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: tenant
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
  {{- if $team.clientId }}
  annotations:
    azure.workload.identity/client-id: {{ $team.clientId | quote }}
    controlnet.io/container: {{ required (printf "teams.%s.container is missing, and clientId is set" .name) $team.container }}
  {{- end }}
automountServiceAccountToken: false
{{- with $team.members }}
---
# Members see what runs, and why it does not; they change it through the team's pipeline.
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: tenant-members
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects:
  {{- range . }}
  - {apiGroup: rbac.authorization.k8s.io, kind: Group, name: {{ . | quote }}}
  {{- end }}
{{- end }}
{{- with $team.clusterQueue }}
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: LocalQueue
metadata:
  name: tenant
  namespace: {{ $namespace }}
  labels: {{- $labels | nindent 4 }}
spec: {clusterQueue: {{ . }}}
{{- end }}
{{- end -}}
