"""Metrics of others that panels and rules ask for, and which metrics a query asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping

EXTERNAL: Mapping[str, str] = {
    # Ray, as scraped of 2.60.
    "ray_resources": "",
    "ray_component_rss_mb": "",
    "ray_component_cpu_percentage": "",
    "ray_object_store_used_memory": "",
    "ray_object_store_available_memory": "",
    "ray_serve_deployment_replica_healthy": "",
    "ray_serve_deployment_replica_starts_total": "",
    "ray_serve_deployment_queued_queries": "",
    "ray_serve_replica_processing_queries": "",
    "ray_serve_autoscaling_target_replicas": "",
    "ray_node_gpus_available": "GPU",
    "ray_node_gpus_utilization": "GPU",
    "ray_node_gram_used": "GPU",
    "ray_node_gram_available": "GPU",
    "ray_node_gpu_power_milliwatts": "GPU",
    # KubeRay's operator 1.7.
    "kuberay_service_condition_ready": "KubeRay",
    "kuberay_service_condition_upgrade_in_progress": "KubeRay",
    "kuberay_cluster_condition_provisioned": "KubeRay",
    # NVIDIA's DCGM exporter, its default counters.
    "DCGM_FI_DEV_GPU_UTIL": "DCGM",
    "DCGM_FI_DEV_FB_USED": "DCGM",
    "DCGM_FI_DEV_FB_FREE": "DCGM",
    "DCGM_FI_DEV_GPU_TEMP": "DCGM",
    "DCGM_FI_DEV_POWER_USAGE": "DCGM",
    "DCGM_FI_DEV_XID_ERRORS": "DCGM",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": "DCGM",
    # cert-manager.
    "certmanager_certificate_expiration_timestamp_seconds": "cert-manager",
}
"""Name -> what must be there for it; empty where Ray alone is enough."""

_WORDS = frozenset(
    {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}
)


def names_in(query: str) -> set[str]:
    """The metrics that a PromQL query asks for."""
    bare = re.sub(r'"[^"]*"', '""', query)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    found = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b(?!\s*\()", bare)
    return {name for name in found if name not in _WORDS}
