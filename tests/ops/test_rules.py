"""Rules: each alert fires when it must and not otherwise, and leads to a page that exists."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.dashboards.names import EXTERNAL, names_in
from serve.telemetry import METRICS
from serve.telemetry.names import TO_IMAGE_S

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops" / "prometheus"
RUNBOOKS = ROOT / "ops" / "runbooks"


def rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "rules" / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {f"{rule['alert']}-{rule['labels']['severity']}": rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule for rule in rules("recording.yml")}
CASES = sorted((FOLDER / "tests").glob("*.yml"))
PAGES = sorted(page for page in RUNBOOKS.glob("*.md") if page.name != "README.md")


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: make services")
    return found


def test_every_alert_fires_and_is_quiet_as_promtool_finds(promtool: str) -> None:
    done = subprocess.run([promtool, "test", "rules", *CASES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shipped_configuration_is_one(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "config", str(FOLDER / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted({rule["alert"] for rule in ALERTS.values()}))
def test_an_alert_is_tested_both_ways(name: str) -> None:
    tests = {test["name"] for file in CASES for test in yaml.safe_load(file.read_text())["tests"]}
    assert {f"{name} fires", f"{name} is quiet"} <= tests


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert (ROOT / rule["annotations"]["runbook_url"]).is_file()


def test_every_page_is_an_alerts() -> None:
    linked = {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS.values()}
    assert {page.name for page in PAGES} == linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_links_to_what_exists_and_is_listed(page: Path) -> None:
    for link in re.findall(r"]\(([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link
    assert f"({page.name})" in (RUNBOOKS / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_asks_for_metrics_that_exist(page: Path) -> None:
    queries = re.findall(r"promtool query instant \"\$PROMETHEUS\" '([^']+)'", page.read_text())
    for query in queries:
        assert names_in(query) <= METRICS.keys() | EXTERNAL.keys() | {"up"} | parts()


@pytest.mark.parametrize("rule", [*ALERTS.values(), *RECORDED.values()], ids=[*ALERTS, *RECORDED])
def test_a_rule_asks_for_metrics_that_exist(rule: dict[str, Any]) -> None:
    external = names_in(rule["expr"]) & EXTERNAL.keys()
    assert names_in(rule["expr"]) - external <= METRICS.keys() | RECORDED.keys() | {"up"} | parts()
    requires = {EXTERNAL[name] for name in external if EXTERNAL[name]}
    assert requires == {rule.get("labels", {}).get("requires")} - {None}


def test_a_sampler_has_one_gpu_as_the_rule_of_lost_ones_counts() -> None:
    values = sorted((ROOT / "k8s" / "helm").rglob("values*.yaml"))
    serving = [loaded.get("serving", loaded) for file in values if (loaded := yaml.safe_load(file.read_text()))]
    groups = [group for each in serving for group in each.get("ray", {}).get("samplers", [])]
    assert {group["gpus"] for group in groups} == {0, 1}


def test_the_objective_of_time_is_a_bucket() -> None:
    """Else the share of images in time could not be told."""
    assert TO_IMAGE_S in METRICS["cn_job_seconds"].buckets
    assert f'le=~"{TO_IMAGE_S:g}|' in RECORDED["cn:job_seconds:bad_ratio_rate5m"]["expr"]


def parts() -> set[str]:
    """Series of histograms."""
    histograms = [metric.name for metric in METRICS.values() if metric.kind == "histogram"]
    return {f"{name}_{part}" for name in histograms for part in ("bucket", "sum", "count")}
