"""Three layers take away what is idle, one after the other: Serve a replica, Ray a pod, AKS a node.

Only Serve's wait is by work, so it is the longest of the three; Ray's and AKS's are as long as they must be for what
comes back soon to find its place. docs/scaling.md gives the reasons for each inequality.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from serve.config import Settings
from tests.infra.charts import ENVIRONMENTS, Charts, Render, images, terraform

pytestmark = pytest.mark.infra

AKS = Path(__file__).parents[2] / "infra" / "terraform" / "modules" / "aks" / "main.tf"
REPLACED_WITHIN_S = 60
"""A replica that fails three health checks, 5 s apart, is started anew, on the same node if that is there still."""


@dataclass(frozen=True)
class Waits:
    """Seconds: until a replica goes, the last one, its idle pod, its empty node."""

    replica: float
    last_replica: float
    pod: float
    node: float


@pytest.fixture(scope="module")
def profile() -> dict[str, float]:
    """What AKS's autoscaler is told, in seconds."""
    block = re.search(r"auto_scaler_profile \{(.*?)\n  \}", AKS.read_text(), re.DOTALL)
    assert block is not None
    found = re.findall(r'(\w+)\s+= "(\d+)m"', block[1])
    return {name: 60.0 * int(minutes) for name, minutes in found}


def rendered(charts: Charts, environment: str) -> Render:
    return charts.render(charts.file(environment), {} if environment == "kind" else terraform(), images())


@pytest.fixture(params=ENVIRONMENTS)
def waits(
    request: pytest.FixtureRequest, charts: Charts, profile: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> Waits:
    render = rendered(charts, request.param)
    for name, value in render.one("ConfigMap", "serving-settings")["data"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    ray = render.one("RayService", "serving")["spec"]["rayClusterConfig"]
    return Waits(
        replica=settings.scale_down_after,
        last_replica=settings.scale_to_zero_after,
        pod=ray["autoscalerOptions"]["idleTimeoutSeconds"],
        node=profile["scale_down_unneeded"],
    )


def test_a_replica_that_is_replaced_finds_its_pod(waits: Waits) -> None:
    assert waits.pod >= REPLACED_WITHIN_S


def test_a_pod_that_comes_back_finds_its_node(waits: Waits) -> None:
    assert waits.node > waits.pod


def test_serve_which_knows_the_work_waits_longer_than_ray_which_does_not(waits: Waits) -> None:
    assert waits.replica > waits.pod


def test_the_last_sampler_whose_return_is_a_node_waits_longest(waits: Waits) -> None:
    assert waits.last_replica > waits.node
    assert waits.last_replica >= waits.replica


def test_most_of_what_an_idle_gpu_costs_is_spent_where_the_work_is_known(waits: Waits) -> None:
    assert waits.last_replica > waits.pod + waits.node


def test_a_new_node_is_not_kept_longer_than_any_other(profile: dict[str, float]) -> None:
    assert profile["scale_down_delay_after_add"] <= profile["scale_down_unneeded"]


def test_what_serve_is_told_names_the_policy_that_the_program_has(charts: Charts) -> None:
    from serve.deployments.names import NAME, POLICY

    config = yaml.safe_load(rendered(charts, "prod").one("RayService", "serving")["spec"]["serveConfigV2"])
    (application,) = [found for found in config["applications"] if found["name"] == NAME]
    assert application["autoscaling_policy"] == {"policy_function": POLICY}


def test_a_development_cluster_has_no_gpu_while_nothing_waits(charts: Charts, monkeypatch: pytest.MonkeyPatch) -> None:
    render = rendered(charts, "dev")
    for name, value in render.one("ConfigMap", "serving-settings")["data"].items():
        monkeypatch.setenv(name, value)
    assert Settings().sampler_replicas[0] == 0
    groups = render.one("RayService", "serving")["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    assert [group["minReplicas"] for group in groups if "sampling" in group["resources"]] == [0]
