"""What it runs on: Ray's deployments and nodes, KubeRay's clusters."""

from __future__ import annotations

from ops.dashboards.board import Board, Row, panel

FLEET = Board(
    "fleet",
    "Fleet: Ray, KubeRay, nodes",
    "Replicas, their load, and what Ray and its operator say of the machines.",
    (
        Row(
            "Ray Serve",
            (
                panel(
                    "Healthy replicas by deployment",
                    "dispatcher hands out, imaging touches pixels, sampler makes images.",
                    "short",
                    ("sum by (deployment) (ray_serve_deployment_replica_healthy)", "{{deployment}}"),
                ),
                panel(
                    "Replicas that autoscaling wants",
                    "More than are healthy for long: there is no room for them.",
                    "short",
                    ("max by (deployment) (ray_serve_autoscaling_target_replicas)", "{{deployment}}"),
                ),
                panel(
                    "Starts of replicas",
                    "Since Ray started. Steps without a deployment of yours are crashes.",
                    "short",
                    ("sum by (deployment) (ray_serve_deployment_replica_starts_total)", "{{deployment}}"),
                ),
                panel(
                    "Calls that replicas work on",
                    "A sampler's call lasts as long as its job.",
                    "short",
                    ("sum by (deployment) (ray_serve_replica_processing_queries)", "{{deployment}}"),
                ),
                panel(
                    "Calls that wait for a replica",
                    "Long above 0: the deployment needs more replicas.",
                    "short",
                    ("sum by (deployment) (ray_serve_deployment_queued_queries)", "{{deployment}}"),
                ),
                panel(
                    "Parts of the platform that Prometheus sees",
                    "1 for what answers.",
                    "short",
                    ("min by (job) (up)", "{{job}}"),
                ),
            ),
        ),
        Row(
            "Nodes",
            (
                panel(
                    "CPUs and GPUs that Ray has",
                    "By state: used by replicas, or available.",
                    "short",
                    ('sum by (Name, State) (ray_resources{Name=~"CPU|GPU"})', "{{Name}} {{State}}"),
                ),
                panel(
                    "Memory of Ray's processes",
                    "Resident, in megabytes.",
                    "decmbytes",
                    ("sum(ray_component_rss_mb)", "all"),
                ),
                panel(
                    "Object store",
                    "Where pictures wait between replicas. Full: Ray writes them to disk, which is slow.",
                    "bytes",
                    ("sum(ray_object_store_used_memory)", "used"),
                    ("sum(ray_object_store_available_memory)", "available"),
                ),
                panel(
                    "GPUs by Ray: utilisation",
                    "Mean over a node's GPUs.",
                    "percentunit",
                    ("avg by (instance) (ray_node_gpus_utilization) / 100", "{{instance}}"),
                    requires="GPU",
                ),
                panel(
                    "GPUs by Ray: memory",
                    "In megabytes.",
                    "decmbytes",
                    ("sum by (instance) (ray_node_gram_used)", "{{instance}} used"),
                    ("sum by (instance) (ray_node_gram_available)", "{{instance}} free"),
                    requires="GPU",
                ),
                panel(
                    "GPUs that Ray has",
                    "Falls where one is lost.",
                    "short",
                    ("sum(ray_node_gpus_available)", "GPUs"),
                    requires="GPU",
                ),
            ),
        ),
        Row(
            "KubeRay",
            (
                panel(
                    "Ray services that are ready",
                    "1 for a service that answers.",
                    "short",
                    ("max by (namespace, name) (kuberay_service_condition_ready)", "{{namespace}}/{{name}}"),
                    requires="KubeRay",
                ),
                panel(
                    "Upgrades under way",
                    "1 while a service moves to a new cluster.",
                    "short",
                    (
                        "max by (namespace, name) (kuberay_service_condition_upgrade_in_progress)",
                        "{{namespace}}/{{name}}",
                    ),
                    requires="KubeRay",
                ),
                panel(
                    "Clusters that are provisioned",
                    "0 for one whose pods wait for nodes.",
                    "short",
                    ("max by (namespace, name) (kuberay_cluster_condition_provisioned)", "{{namespace}}/{{name}}"),
                    requires="KubeRay",
                ),
            ),
        ),
    ),
)
