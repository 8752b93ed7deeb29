"""Who is there in a production with two teams, the first of which has a platform of its own."""

from __future__ import annotations

from tests.infra.walls import Peer, outside

PLATFORM = {"controlnet.io/serving": "true"}
TEAM0 = {"controlnet.io/tenant": "team0", "controlnet.io/serving": "true"}
TEAM1 = {"controlnet.io/tenant": "team1"}
RAY = {"controlnet.io/ray": "controlnet"}

WHO = {
    "api": Peer("controlnet", {"controlnet.io/component": "api"}, PLATFORM),
    "head": Peer("controlnet", {"controlnet.io/component": "ray-head", **RAY}, PLATFORM),
    "dispatcher": Peer("controlnet", {"controlnet.io/component": "ray-cpu", **RAY}, PLATFORM),
    "sampler": Peer("controlnet", {"controlnet.io/component": "ray-sampler", **RAY}, PLATFORM),
    "declaration": Peer("controlnet", {"controlnet.io/component": "tenants"}, PLATFORM),
    "stranger": Peer("controlnet", {"app": "stranger"}, PLATFORM),
    "mlflow": Peer("mlflow", {"controlnet.io/component": "mlflow"}, {}),
    "team0": Peer("team-team0", {"app": "job"}, TEAM0),
    "team0-api": Peer("team-team0", {"controlnet.io/component": "api"}, TEAM0),
    "team0-sampler": Peer(
        "team-team0", {"controlnet.io/component": "ray-sampler", "controlnet.io/ray": "team0"}, TEAM0
    ),
    "team1": Peer("team-team1", {"app": "job"}, TEAM1),
    "ingress": Peer("app-routing-system", {"app": "nginx"}, {}),
    "prometheus": Peer("kube-system", {"app": "prometheus"}, {}),
    "operator": Peer("kuberay-operator", {"app": "kuberay"}, {}),
    "elsewhere": Peer("default", {"app": "job"}, {}),
    "postgresql": outside("10.64.9.4"),
    "redis": outside("10.64.8.4"),
    "storage": outside("20.60.1.1"),
    "receiver": outside("203.0.113.9"),
    "metadata": outside("169.254.169.254"),
}
