"""What KubeRay 1.7 refuses although its CRD takes it: the rules of its operator's `validation.go`, read and retold.

Only those that our charts could break; each says the operator's words in short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.infra.charts import Document

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_SERVICE, LONGEST_GROUP = 47, 63
RESOURCE_PARAMS = {"num-cpus", "num-gpus", "memory", "resources"}
REDIS = {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS", "REDIS_USERNAME"}
STRATEGIES = {"NewCluster", "None", "NewClusterWithIncrementalUpgrade"}


def refusals(service: Document) -> list[str]:
    """Why the operator would not reconcile a RayService; empty where it would."""
    return [*_service(service), *_cluster(service["spec"]["rayClusterConfig"]), *_auth(service)]


def _service(service: Document) -> Iterator[str]:
    name, spec = service["metadata"]["name"], service["spec"]
    cluster = spec["rayClusterConfig"]
    if len(name) > LONGEST_SERVICE or not DNS_1035.fullmatch(name):
        yield f"the name {name!r} is longer than {LONGEST_SERVICE} or no DNS-1035 label"
    if cluster["headGroupSpec"].get("headService", {}).get("metadata", {}).get("name"):
        yield "headService.metadata.name should not be set"
    if "upgradeStrategy" in cluster:
        yield "rayClusterConfig.upgradeStrategy must not be set under a RayService"
    if spec.get("rayClusterDeletionDelaySeconds", 0) < 0:
        yield "rayClusterDeletionDelaySeconds should not be negative"
    strategy = spec.get("upgradeStrategy", {})
    kind = strategy.get("type", "NewCluster")
    if kind not in STRATEGIES:
        yield f"upgradeStrategy.type {kind!r} is invalid"
    if kind == "NewClusterWithIncrementalUpgrade":
        options = strategy.get("clusterUpgradeOptions", {})
        if not cluster.get("enableInTreeAutoscaling"):
            yield "an incremental upgrade needs the autoscaler"
        if not options.get("gatewayClassName"):
            yield "an incremental upgrade needs a gatewayClassName"
        if options.get("intervalSeconds", 0) <= 0:
            yield "intervalSeconds must be greater than 0"
        if not 0 <= options.get("stepSizePercent", -1) <= options.get("maxSurgePercent", 100) <= 100:
            yield "stepSizePercent must be between 0 and maxSurgePercent, and that at most 100"


def _cluster(cluster: Mapping[str, Any]) -> Iterator[str]:
    groups = [("head", cluster["headGroupSpec"]), *((g["groupName"], g) for g in cluster["workerGroupSpecs"])]
    autoscaled = cluster.get("enableInTreeAutoscaling", False)
    for name, group in groups:
        params, pod = group.get("rayStartParams") or {}, group["template"]["spec"]
        if group.get("resources") and RESOURCE_PARAMS & params.keys():
            yield f"{name}: resources are set in rayStartParams and in resources"
        if "labels" in params:
            yield f"{name}: rayStartParams['labels'] is not supported"
        if not pod["containers"]:
            yield f"{name}: there should be at least one container"
        if autoscaled and pod.get("restartPolicy", "Never") != "Never":
            yield f"{name}: restartPolicy should be Never or unset under autoscaler v2"
        if "redis-username" in params or "redis-password" in params:
            yield f"{name}: Redis is set in rayStartParams"
    for name, group in groups[1:]:
        if not DNS_1035.fullmatch(name) or len(name) > LONGEST_GROUP:
            yield f"the group's name {name!r} is no label"
        if not 0 <= group["minReplicas"] <= group["maxReplicas"]:
            yield f"{name}: minReplicas is {group['minReplicas']} and maxReplicas {group['maxReplicas']}"
    names = [name for name, _ in groups]
    if len(set(names)) != len(names):
        yield f"groups have one name: {names}"
    environment = {entry["name"] for entry in groups[0][1]["template"]["spec"]["containers"][0].get("env", [])}
    if REDIS & environment:
        yield f"the head has {sorted(REDIS & environment)} in its environment"
    if "RAY_enable_autoscaler_v2" in environment and "version" in cluster.get("autoscalerOptions", {}):
        yield "both autoscalerOptions.version and RAY_enable_autoscaler_v2 are set"


def _auth(service: Document) -> Iterator[str]:
    cluster = service["spec"]["rayClusterConfig"]
    auth = cluster.get("authOptions", {})
    if auth.get("mode") != "token":
        return
    version = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", cluster.get("rayVersion", ""))
    if version is None:
        yield f"authOptions.mode is 'token' and rayVersion is {cluster.get('rayVersion')!r}"
    elif tuple(map(int, version.groups())) < (2, 52, 0):
        yield f"authOptions.mode is 'token' and rayVersion {version[0]} is below 2.52.0"
    if auth.get("enableK8sTokenAuth"):
        yield "enableK8sTokenAuth is rejected for a RayService"
