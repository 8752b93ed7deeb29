"""What an operator sees: a real Prometheus with the shipped configuration, on the platform under load and with faults.

The tests follow each other: the platform is worked first, looked at, then broken.
"""

from __future__ import annotations

import io
import math
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import skimage
import yaml
from PIL import Image

from ops.dashboards.board import Panel
from ops.dashboards.boards import BOARDS
from ops.dashboards.names import EXTERNAL, names_in
from ops.faults.rig import Rig
from serve.telemetry import METRICS
from tests.prometheus import SHIPPED, Prometheus
from tests.services import Missing

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

RUNBOOKS = Path(__file__).parents[2] / "ops" / "runbooks"
PANELS = {f"{board.name}: {panel.title}": panel for board in BOARDS for panel in board.panels}
WORK_S = 45.0
FIRES_WITHIN_S = 60.0

STILL = {
    *("cn_job_retries_total", "cn_jobs_set_aside_total", "cn_leases_lost_total", "cn_store_errors_total"),
    *("cn_artifact_errors_total", "cn_webhooks_total", "cn_model_loads_total", "cn_model_load_seconds"),
}
"""Counters of faults that nobody has made yet, of webhooks that nobody asked for, and of what happened before."""


@dataclass(frozen=True)
class Watched:
    """A platform and who watches it."""

    rig: Rig
    prometheus: Prometheus
    client: httpx.Client

    def cnserve(self, *arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("cnserve")), *arguments]
        return subprocess.run(command, env=self.rig.environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    settings = {
        "CN_ADHERENCE_SHARE": "1",
        "CN_ATTEMPTS": "1",  # one failure sets a job aside
        "RAY_metrics_report_interval_ms": "1000",
    }
    (folder / "platform").mkdir()
    with Rig(folder / "platform", settings=settings) as rig:
        headers = {"Authorization": f"Bearer {rig.key}"}
        client = httpx.Client(base_url=rig.url, timeout=120, trust_env=False, headers=headers)
        try:
            prometheus = Prometheus(folder / "prometheus", f"127.0.0.1:{rig.metrics_port}", rig.ray_targets)
        except Missing as missing:
            pytest.skip(str(missing))
        with client, prometheus:
            yield Watched(rig, prometheus, client)


@pytest.fixture(scope="module")
def worked(watched: Watched) -> Watched:
    """The platform after most of a minute of what people do, and some that they shouldn't."""
    picture = io.BytesIO()
    Image.fromarray(skimage.data.coins()).save(picture, "PNG")
    tenants = watched.rig.folder / "tenants.yaml"
    tenants.write_text("tenants: [{name: demo}, {name: small, limits: {requests_per_minute: 1}}]")
    watched.cnserve("tenants", "apply", "-f", str(tenants))
    small = watched.cnserve("keys", "create", "small").strip()
    until = time.monotonic() + WORK_S

    def work(seed: int) -> None:
        while time.monotonic() < until:
            request = f'{{"prompt": "a", "steps": {2 + seed}, "controls": [{{"type": "canny", "image": "photo"}}]}}'
            files = {"photo": ("coins.png", picture.getvalue(), "image/png")}
            watched.client.post("/v1/images", data={"request": request}, files=files).raise_for_status()
            cut = {"photo": ("coins.png", picture.getvalue()[:5000], "image/png")}
            assert watched.client.post("/v1/images", data={"request": request}, files=cut).status_code == 422
            watched.client.get("/v1/jobs").raise_for_status()

    def ask_too_much() -> None:
        while time.monotonic() < until:
            body = {"prompt": "a", "steps": 1}
            watched.client.post("/v1/jobs", json=body, headers={"Authorization": f"Bearer {small}"})
            job = watched.client.post("/v1/jobs", json={"prompt": "b", "steps": 50}).json()
            watched.client.delete(f"/v1/jobs/{job['id']}").raise_for_status()
            threading.Event().wait(1.0)

    with ThreadPoolExecutor(4) as pool:
        for work_of in [*(pool.submit(work, seed) for seed in range(3)), pool.submit(ask_too_much)]:
            work_of.result()
    return watched


def within(expr: str) -> str:
    """A panel's query with a window that the test has worked through."""
    return expr.replace("$__rate_interval", "1m")


def finite(prometheus: Prometheus, expr: str) -> list[float]:
    return [value for value in prometheus.values(within(expr)) if math.isfinite(value)]


def eventually(true: Callable[[], object], seconds: float = FIRES_WITHIN_S) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.5)
    return True


def test_every_panel_that_needs_no_gpu_shows_numbers(worked: Watched) -> None:
    empty = [
        f"{title}: {query.expr}"
        for title, panel in PANELS.items()
        if not panel.requires
        for query in panel.queries
        if not eventually(lambda query=query: finite(worked.prometheus, query.expr), 5)  # type: ignore[misc]
    ]
    assert empty == []


def test_every_panel_can_be_asked(worked: Watched) -> None:
    """Also those whose hardware is not here: Prometheus refuses what is not PromQL."""
    panels: list[Panel] = list(PANELS.values())
    for panel in panels:
        for query in panel.queries:
            worked.prometheus.values(within(query.expr))


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_there_and_moves(worked: Watched, name: str) -> None:
    metric = METRICS[name]
    if name == "cn_gpu_memory_bytes":
        pytest.skip("requires: GPU")
    counted = f"{name}_count" if metric.kind == "histogram" else name
    assert worked.prometheus.query(counted), "no such series"
    if metric.kind != "gauge" and name not in STILL:
        assert worked.prometheus.value(f"sum(increase({counted}[3m]))") > 0
    if name in ("cn_running_jobs", "cn_engine_images"):
        assert max(worked.prometheus.values(f"max_over_time({name}[3m])")) > 0


@pytest.mark.parametrize("file", ["recording.yml", "alerts.yml"])
def test_every_rule_finds_its_metrics(worked: Watched, file: str) -> None:
    groups = yaml.safe_load((SHIPPED / "rules" / file).read_text())["groups"]
    missing = [
        (rule.get("record") or rule["alert"], name)
        for group in groups
        for rule in group["rules"]
        for name in names_in(rule["expr"])
        if not EXTERNAL.get(name) and not finite(worked.prometheus, name)
    ]
    assert missing == []


def test_what_is_counted_is_what_was_done(worked: Watched) -> None:
    """Prometheus' numbers against the platform's own books."""
    prometheus = worked.prometheus
    with worked.rig.reads.connect() as books:
        done = books.exec_driver_sql("SELECT count(*) FROM jobs WHERE state = 'succeeded'").scalar_one()
        images = books.exec_driver_sql("SELECT sum(images) FROM usage").scalar_one()
    assert eventually(lambda: prometheus.value('sum(cn_jobs_total{outcome="succeeded"})') == done, 15)
    assert prometheus.value("sum(cn_images_made_total)") == images
    assert prometheus.value('sum(cn_images_total{outcome="finished"})') >= images


def test_a_well_platform_alerts_nobody(worked: Watched) -> None:
    """But for time: on a laptop's two cores an image may take longer than on a GPU."""
    assert worked.prometheus.firing() <= {"ImagesSlow"}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_a_runbook_run(worked: Watched, page: Path) -> None:
    environment = worked.rig.environment | {
        "PROMETHEUS": worked.prometheus.url,
        "API": worked.rig.url,
        "PATH": f"{Path(sys.executable).parent}:{worked.rig.environment['PATH']}",
    }
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_a_key_that_ends_soon_alerts(worked: Watched) -> None:
    worked.cnserve("keys", "create", "demo", "--expires-in", "20d")
    with closing(_database(worked.rig)) as database, database:
        past = 15 * 24 * 3600  # as if so many seconds had gone by
        database.execute(
            "UPDATE keys SET created_at = created_at - ?, expires_at = expires_at - ? WHERE expires_at IS NOT NULL",
            (past, past),
        )
    assert eventually(lambda: "KeyExpiry" in worked.prometheus.firing()), worked.prometheus.firing()


def test_artifacts_that_can_not_be_stored_alert(worked: Watched) -> None:
    """Attempts fail, jobs are set aside, and the budget of failed jobs burns."""
    folder, aside = worked.rig.artifacts, worked.rig.folder / "aside"
    folder.rename(aside)
    folder.write_text("no folder")
    wanted = {"ArtifactErrors", "JobsSetAside", "JobsFailing", "ApiErrors"}
    try:
        assert eventually(lambda: _burn(worked) and wanted <= worked.prometheus.firing(), 120), (
            worked.prometheus.firing()
        )
    finally:
        folder.unlink()
        aside.rename(folder)


def test_a_database_that_does_not_answer_alerts(worked: Watched) -> None:
    with closing(_database(worked.rig)) as database:
        database.execute("BEGIN IMMEDIATE")  # writers wait for it, and give up
        try:
            assert eventually(lambda: "StoreAway" in worked.prometheus.firing()), worked.prometheus.firing()
        finally:
            database.rollback()


def _burn(worked: Watched) -> bool:
    """Ask for images that can't be stored, and send pictures that can't be, either."""
    worked.client.post("/v1/images", json={"prompt": "a", "steps": 1, "n": 1})
    worked.client.post("/model/generate", data={"prompt": "a", "ddim_steps": "1"}, files={"image": _picture()})
    return True


def _picture() -> tuple[str, bytes]:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(picture, "PNG")
    return "white.png", picture.getvalue()


def _database(rig: Rig) -> Any:
    return sqlite3.connect(rig.folder / "data" / "jobs.db", isolation_level=None)
