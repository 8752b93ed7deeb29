"""What an operator sees: a real Prometheus with the shipped configuration, on the platform under load and with faults.

The tests follow each other: the platform is worked first, looked at, then broken.
"""

from __future__ import annotations

import io
import json
import math
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
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
from ops.dashboards.picture import asking, draw
from ops.faults.rig import Rig
from ops.services import Missing
from serve.telemetry import METRICS
from tests.otlp import Received, Receiver
from tests.prometheus import SCRAPED_EVERY_S, SHIPPED, Prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DOCS = Path(__file__).parents[2] / "docs" / "observing.md"
RUNBOOKS = Path(__file__).parents[2] / "ops" / "runbooks"
RULES = ("recording.yml", "alerts.yml")
PANELS = {f"{board.name}: {panel.title}": panel for board in BOARDS for panel in board.panels}
ANSWERED_WITHIN_S = 600.0
WITHIN_S = 240.0
"""For each thing that must happen. Nothing takes long where the machine is not shared: processes report to Ray every
other second, and are scraped every five."""

OF_GPUS = "cn_gpu_memory_bytes"
BUSY = {"cn_running_jobs", "cn_engine_images"}
"""Gauges that are above zero while something is made."""

STILL = {
    *("cn_job_retries_total", "cn_jobs_set_aside_total", "cn_leases_lost_total", "cn_store_errors_total"),
    *("cn_artifact_errors_total", "cn_webhooks_total", "cn_model_loads_total", "cn_model_load_seconds"),
}
"""Counters of faults that nobody has made yet, of webhooks that nobody asked for, and of what happened before."""


@dataclass(frozen=True)
class Watched:
    """A platform and who watches it.

    Attributes:
        worked_until: Epoch seconds, when all of the work had been seen: where windows end, however late they are asked.
    """

    rig: Rig
    prometheus: Prometheus
    client: httpx.Client
    receiver: Receiver
    worked_until: float = math.nan

    def finite(self, expr: str) -> list[float]:
        """What there is to see at the end of the work."""
        return [value for value in self.prometheus.values(within(expr), self.worked_until) if math.isfinite(value)]

    def moved(self, name: str) -> bool:
        """Whether a metric is there, and has moved where work alone moves it."""
        metric = METRICS[name]
        counted = f"{name}_count" if metric.kind == "histogram" else name
        if name in STILL or (metric.kind == "gauge" and name not in BUSY):
            return bool(self.prometheus.query(counted, self.worked_until))
        moved = f"max_over_time({name}[10m])" if name in BUSY else f"increase({counted}[10m])"
        return sum(self.prometheus.values(moved, self.worked_until)) > 0

    def shows(self, panel: Panel) -> bool:
        """Whether each query of a panel has a number."""
        return all(self.finite(query.expr) for query in panel.queries)

    @property
    def complete(self) -> bool:
        """Whether every panel shows a number, every metric has moved, and every rule has something to judge."""
        return (
            all(self.shows(panel) for panel in PANELS.values() if not panel.requires)
            and all(self.moved(name) for name in METRICS if name != OF_GPUS)
            and all(self.finite(name) for file in RULES for _, name in asked_by(file))
        )

    def cnserve(self, *arguments: str) -> str:
        return self.rig.cnserve(*arguments)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def watched(alone: None, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    settings = {
        "CN_ADHERENCE_SHARE": "1",
        "CN_ATTEMPTS": "1",  # one failure sets a job aside
        "CN_OTLP_ENDPOINT": receiver.endpoint,
        "CN_TRACE_RATIO": "1",
        "RAY_metrics_report_interval_ms": "2000",
    }
    (folder / "platform").mkdir()
    with Rig(folder / "platform", settings=settings) as rig:
        headers = {"Authorization": f"Bearer {rig.key}"}
        client = httpx.Client(base_url=rig.url, timeout=ANSWERED_WITHIN_S, trust_env=False, headers=headers)
        of_ray = rig.ray_session / "prom_metrics_service_discovery.json"
        try:
            prometheus = Prometheus(folder / "prometheus", f"127.0.0.1:{rig.metrics_port}", of_ray)
        except Missing as missing:
            pytest.skip(str(missing))
        with client, prometheus:
            yield Watched(rig, prometheus, client, receiver)


@pytest.fixture(scope="module")
def worked(watched: Watched) -> Watched:
    """The platform after what people do, and some that they shouldn't, until all of it has been seen."""
    picture = io.BytesIO()
    Image.fromarray(skimage.data.coins()).save(picture, "PNG")
    tenants = watched.rig.folder / "tenants.yaml"
    tenants.write_text("tenants: [{name: demo}, {name: small, limits: {requests_per_minute: 1}}]")
    watched.cnserve("tenants", "apply", "-f", str(tenants))
    small = watched.cnserve("keys", "create", "small").strip()
    seen = threading.Event()

    def work(seed: int) -> None:
        while not seen.is_set():
            request = f'{{"prompt": "a", "steps": {2 + seed}, "controls": [{{"type": "canny", "image": "photo"}}]}}'
            files = {"photo": ("coins.png", picture.getvalue(), "image/png")}
            watched.client.post("/v1/images", data={"request": request}, files=files).raise_for_status()
            cut = {"photo": ("coins.png", picture.getvalue()[:5000], "image/png")}
            assert watched.client.post("/v1/images", data={"request": request}, files=cut).status_code == 422
            watched.client.get("/v1/jobs").raise_for_status()

    def ask_too_much() -> None:
        while not seen.wait(1.0):
            body = {"prompt": "a", "steps": 1}
            watched.client.post("/v1/jobs", json=body, headers={"Authorization": f"Bearer {small}"})
            job = watched.client.post("/v1/jobs", json={"prompt": "b", "steps": 50}).json()
            watched.client.delete(f"/v1/jobs/{job['id']}").raise_for_status()

    with ThreadPoolExecutor(4) as pool:
        workers = [*(pool.submit(work, seed) for seed in range(3)), pool.submit(ask_too_much)]
        looked = watched

        def over() -> bool:
            nonlocal looked
            # A scrape that fails ends its series as of its beginning: only those before are what they will be.
            looked = replace(watched, worked_until=time.time() - SCRAPED_EVERY_S)
            return looked.complete or any(worker.done() for worker in workers)

        try:
            eventually(over)
        finally:
            seen.set()
        for worker in workers:
            worker.result()
    return looked


def asked_by(file: str) -> list[tuple[str, str]]:
    """Each rule of a file, and each metric that it asks for and the platform has."""
    groups = yaml.safe_load((SHIPPED / "rules" / file).read_text())["groups"]
    return [
        (rule.get("record") or rule["alert"], name)
        for group in groups
        for rule in group["rules"]
        for name in names_in(rule["expr"])
        if not EXTERNAL.get(name)
    ]


def within(expr: str) -> str:
    """A panel's query with a window that holds all of the work."""
    return expr.replace("$__rate_interval", "10m")


def eventually(true: Callable[[], object], seconds: float = WITHIN_S) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.5)
    return True


def test_every_panel_that_needs_no_gpu_shows_numbers(worked: Watched) -> None:
    assert [title for title, panel in PANELS.items() if not panel.requires and not worked.shows(panel)] == []


def test_every_panel_can_be_asked(worked: Watched) -> None:
    """Also those whose hardware is not here: Prometheus refuses what is not PromQL."""
    panels: list[Panel] = list(PANELS.values())
    for panel in panels:
        for query in panel.queries:
            worked.prometheus.values(within(query.expr))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.gpu] if name == OF_GPUS else []) for name in sorted(METRICS)]
)
def test_every_metric_is_there_and_moves(worked: Watched, name: str) -> None:
    assert worked.moved(name)


@pytest.mark.parametrize("file", RULES)
def test_every_rule_finds_its_metrics(worked: Watched, file: str) -> None:
    assert [(rule, name) for rule, name in asked_by(file) if not worked.finite(name)] == []


def test_what_is_counted_is_what_was_done(worked: Watched) -> None:
    """Prometheus' numbers against the platform's own books, once all that was asked for is over."""
    prometheus = worked.prometheus

    def ask(query: str) -> int:
        with worked.rig.reads.connect() as books:
            return int(books.exec_driver_sql(query).scalar_one() or 0)

    def counted() -> dict[str, float | None]:
        return {
            "jobs": prometheus.value('sum(cn_jobs_total{outcome="succeeded"})'),
            "images": prometheus.value("sum(cn_images_made_total)"),
        }

    assert eventually(lambda: ask("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')") == 0)
    done = ask("SELECT count(*) FROM jobs WHERE state = 'succeeded'")
    images = ask("SELECT sum(images) FROM usage")
    assert eventually(lambda: counted() == {"jobs": done, "images": images}), counted()
    # Told by another process, which may be scraped a moment later.
    assert eventually(lambda: (prometheus.value('sum(cn_images_total{outcome="finished"})') or 0) >= images)


def test_a_well_platform_alerts_nobody(worked: Watched) -> None:
    """But for time: on a laptop's two cores an image may take longer than on a GPU."""
    assert worked.prometheus.firing() <= {"ImagesSlow"}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_a_runbook_run(worked: Watched, page: Path) -> None:
    environment = worked.rig.environment | {
        "PROMETHEUS": worked.prometheus.url,
        "API": worked.rig.url,
    }
    _run_blocks(page, environment)


def test_a_request_is_one_trace_through_all_processes(worked: Watched) -> None:
    body = {"prompt": "a", "steps": 7, "n": 2, "controls": [{"type": "canny", "image": "photo"}]}
    files = {"photo": _picture()}
    answer = worked.client.post("/v1/images", data={"request": json.dumps(body)}, files=files)
    trace = answer.headers["x-trace-id"]
    wanted = {
        *(("api", name) for name in ("POST /v1/images", "artifacts.put", "store.submit")),
        *(("dispatcher", name) for name in ("queue", "job", "commit")),
        *(("imaging", name) for name in ("imaging.annotate", "artifact.read", "decode", "annotate")),
        ("imaging", "imaging.store_maps"),
        *(("imaging", name) for name in ("imaging.publish", "png", "artifact.write")),
        ("sampler", "image"),
    }

    def found() -> set[tuple[str, str]]:
        return {(span.service.removeprefix("controlnet-"), span.name) for span in worked.receiver.spans(trace)}

    def images() -> list[Received]:
        return [span for span in worked.receiver.spans(trace) if span.name == "image"]

    assert eventually(lambda: wanted <= found() and len(images()) == body["n"]), wanted - found()
    spans = worked.receiver.spans(trace)
    assert found() == wanted
    assert [span.name for span in spans if not span.parent] == ["POST /v1/images"]
    assert {span.parent for span in spans if span.parent} <= {span.id for span in spans}
    assert [span.events for span in images()] == [("seated", *["step"] * 7)] * 2
    whole = next(span for span in spans if span.name == "POST /v1/images")
    assert all(whole.began - 0.1 <= span.began <= span.ended for span in spans)


def test_a_slow_answer_leads_to_its_trace(worked: Watched) -> None:
    """By exemplars, which only OpenMetrics has."""
    url = f"http://127.0.0.1:{worked.rig.metrics_port}/metrics"
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    text = httpx.get(url, headers=accept, trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("cn_http_request_seconds_bucket") and " # " in line]
    (trace, *_) = re.findall('trace_id="([0-9a-f]{32})"', "\n".join(line for line in lines if "/v1/images" in line))
    assert worked.receiver.spans(trace)


def test_log_lines_name_the_trace(worked: Watched) -> None:
    answer = worked.client.get("/v1/jobs/job_0")
    log = worked.rig.folder / "data" / "logs" / "api.log"

    def traces() -> set[str]:
        lines = [line for line in log.read_text().splitlines() if answer.headers["x-request-id"] in line]
        return {json.loads(line)["trace_id"] for line in lines}

    assert eventually(traces)  # the line is written after the answer
    assert traces() == {answer.headers["x-trace-id"]}


def test_the_walk_through_of_a_slow_job_finds_why(worked: Watched) -> None:
    """A team's burst is in front of a job: what docs say to look at says so."""
    for _ in range(8):  # two at a time have seats: the last waits for several rounds and samples in less than one
        worked.client.post("/v1/jobs", json={"prompt": "a", "steps": 12, "n": 4}).raise_for_status()
    slow = worked.client.post("/v1/images", json={"prompt": "b", "steps": 2})
    job = slow.json()["job"]
    timings = slow.json()["timings"]
    assert max(timings.keys() - {"total"}, key=lambda stage: timings[stage]) == "queued"
    environment = worked.rig.environment | {
        "PROMETHEUS": worked.prometheus.url,
        "API": worked.rig.url,
        "JOB": job,
        "KEY": worked.rig.key,
    }
    said = _run_blocks(DOCS, environment)
    assert f"'queued': {timings['queued']}" in said
    assert slow.headers["x-trace-id"] in said

    def waits() -> list[Received]:
        return [span for span in worked.receiver.spans(slow.headers["x-trace-id"]) if span.name == "queue"]

    assert eventually(waits)
    (wait,) = waits()
    assert wait.ended - wait.began == pytest.approx(timings["queued"], abs=0.01)


def test_the_boards_can_be_drawn_from_what_was_scraped(
    worked: Watched, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, until = tmp_path_factory.mktemp("boards"), time.time()
    for board in BOARDS:
        draw(board, asking(worked.prometheus.url, until - 150, until), folder / f"board-{board.name}.png")
    assert len(list(folder.iterdir())) == len(BOARDS)


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
    """Pictures that are sent are refused; a job waits, and is made when they can be stored again."""
    folder, aside = worked.rig.artifacts, worked.rig.folder / "aside"
    folder.rename(aside)
    folder.write_text("no folder")
    try:
        job = worked.client.post("/v1/jobs", json={"prompt": "a", "steps": 1}).json()["id"]
        assert eventually(lambda: _refused(worked) and {"ArtifactErrors", "ApiErrors"} <= worked.prometheus.firing()), (
            worked.prometheus.firing()
        )
    finally:
        folder.unlink()
        aside.rename(folder)
    assert eventually(lambda: worked.client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded")


def test_jobs_that_fail_by_our_fault_alert(worked: Watched) -> None:
    """They are set aside after their only attempt, and the budget of failed jobs burns."""
    alerts = {"JobsSetAside", "JobsFailing"}
    assert eventually(lambda: _spoil(worked) and alerts <= worked.prometheus.firing()), worked.prometheus.firing()


def test_a_database_that_does_not_answer_alerts(worked: Watched) -> None:
    with closing(_database(worked.rig)) as database:
        database.execute("BEGIN IMMEDIATE")  # writers wait for it, and give up
        try:
            assert eventually(lambda: "StoreAway" in worked.prometheus.firing()), worked.prometheus.firing()
        finally:
            database.rollback()


def _run_blocks(page: Path, environment: Mapping[str, str]) -> str:
    """What the commands of a page say; all of them succeed."""
    path = {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
    said = ""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        shell = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(shell, env={**environment, **path}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        said += done.stdout
    return said


def _refused(worked: Watched) -> bool:
    """Whether a picture can't be sent."""
    form = {"prompt": "a", "ddim_steps": "1"}
    return worked.client.post("/model/generate", data=form, files={"image": _picture()}).status_code == 503


def _spoil(worked: Watched) -> bool:
    """Have jobs that wait fail by an error inside, as no request can: their rows name a sampler that does not exist."""

    def those(state: str) -> list[str]:
        return [job["id"] for job in worked.client.get("/v1/jobs", params={"state": state}).json()["jobs"]]

    for _ in range(14):  # of which 9 have seats
        worked.client.post("/v1/jobs", json={"prompt": "a", "steps": 50}).raise_for_status()
    assert eventually(lambda: those("running"))
    with closing(_database(worked.rig)) as database:
        database.execute("UPDATE jobs SET spec = json_set(spec, '$.sampler', 'none') WHERE state = 'queued'")
    for job in those("running"):
        worked.client.delete(f"/v1/jobs/{job}")
    return eventually(lambda: not those("running") and not those("queued"))


def _picture() -> tuple[str, bytes]:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(picture, "PNG")
    return "white.png", picture.getvalue()


def _database(rig: Rig) -> Any:
    return sqlite3.connect(rig.folder / "data" / "jobs.db", isolation_level=None)
