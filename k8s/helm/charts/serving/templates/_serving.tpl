{{- /* What every process of the platform reads: serve/config.py's settings, and the name of the Secret's keys. */ -}}
{{- define "serving.env" -}}
- {name: CN_DATABASE, valueFrom: {secretKeyRef: {name: {{ .Values.secrets.name }}, key: database-url}}}
- {name: CN_WEBHOOK_SECRET, valueFrom: {secretKeyRef: {name: {{ .Values.secrets.name }}, key: webhook-secret}}}
{{- end -}}

{{- define "serving.identity" -}}
{{- if .Values.serviceAccount.clientId }}
azure.workload.identity/use: "true"
{{- end }}
{{- end -}}

{{- define "serving.volumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 8Gi}}
{{- if eq .Values.secrets.source "keyVault" }}
- {name: secrets, csi: {driver: secrets-store.csi.k8s.io, readOnly: true, volumeAttributes: {secretProviderClass: {{ .Values.secrets.name }}}}}
{{- end }}
{{- if eq .Values.artifacts.kind "volume" }}
- {name: artifacts, persistentVolumeClaim: {claimName: artifacts}}
{{- end }}
{{- end -}}

{{- define "serving.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if eq .Values.secrets.source "keyVault" }}
- {name: secrets, mountPath: /mnt/secrets, readOnly: true}
{{- end }}
{{- if eq .Values.artifacts.kind "volume" }}
- {name: artifacts, mountPath: /artifacts}
{{- end }}
{{- end -}}

{{- /* Of each Ray node. Left to itself Ray takes 30 % of the memory for objects, and where /dev/shm (below) has less, puts
       them on the disk. This much is a third of the smallest pod, and hundreds of pictures. */ -}}
{{- define "serving.objectStore" -}}
object-store-memory: "1000000000"
{{- end -}}

{{- /* What all Ray pods share. Takes root, group, resources (of the container), node, image, drain. */ -}}
{{- define "serving.rayPod" -}}
metadata:
  labels:
    {{- include "cn.selector" (dict "root" .root "component" (printf "ray-%s" .group)) | nindent 4 }}
    controlnet.io/ray: {{ .root.Release.Name }}
    {{- include "serving.identity" .root | nindent 4 }}
  annotations:
    # An evicted worker's jobs would be made again: the cluster's autoscaler leaves pods alone, Ray's own drains them.
    cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
    # Other settings are another cluster; another version of the chart alone is none.
    checksum/settings: {{ include "serving.settings" .root | sha256sum }}
spec:
  serviceAccountName: {{ .root.Values.serviceAccount.name }}
  automountServiceAccountToken: {{ eq .group "head" }}   # Ray's autoscaler calls the API server
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .root.Values.jobTimeout 60 }}
  {{- with .node.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .node.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .node.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- include "cn.podSecurity" . | nindent 4 }}
  containers:
    - name: ray-{{ eq .group "head" | ternary "head" "worker" }}
      image: {{ include "cn.image" (dict "root" .root "name" .image) }}
      imagePullPolicy: IfNotPresent
      securityContext: {{- include "cn.containerSecurity" . | nindent 8 }}
      envFrom: [{configMapRef: {name: serving-settings}}]
      env: {{- include "serving.env" .root | nindent 8 }}
      ports:
        {{- if eq .group "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        - {name: as-metrics, containerPort: 44217}
        - {name: dash-metrics, containerPort: 44227}
        {{- end }}
        - {name: metrics, containerPort: 8080}
        - {name: serve, containerPort: 8000}
      resources: {{- toYaml .resources | nindent 8 }}
      volumeMounts:
        {{- include "serving.volumeMounts" .root | nindent 8 }}
        - {name: data, mountPath: /var/lib/controlnet}
        - {name: shared-mem, mountPath: /dev/shm}
  volumes:
    {{- include "serving.volumes" .root | nindent 4 }}
    - {name: data, emptyDir: {sizeLimit: {{ .node.bundles | default "12Gi" }}}}
    - {name: shared-mem, emptyDir: {medium: Memory, sizeLimit: 2Gi}}
{{- end -}}
