"""Samplers come with the work and go with it, on this machine: 0 -> 2 -> 0, and no job is cut."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from ops.faults.rig import Rig
from serve.jobs.schema import events, jobs
from tests.e2e.conftest import end

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.usefixtures("alone")]

WITHIN_S = 240.0  # for each thing that must happen: the machine may be shared
BACKLOG = 6
SETTINGS = {
    "CN_SAMPLER_REPLICAS": "[0, 2]",
    "CN_CLEAR_WITHIN": "1",
    "CN_SCALE_DOWN_AFTER": "2",
    "CN_SCALE_TO_ZERO_AFTER": "4",
}
JOB = {"prompt": "a brass gear on a blue bench", "n": 4, "steps": 20}


class Samplers:
    """How many Serve says there are, line by line from `ops.scaling.watch`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.seen: list[tuple[float, dict[str, int]]] = []
        self._changed = threading.Condition()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def running(self) -> list[int]:
        """Samplers that served, each time that their number changed."""
        counts = [states.get("RUNNING", 0) for _, states in list(self.seen)]
        return [count for i, count in enumerate(counts) if i == 0 or counts[i - 1] != count]

    def until(self, true: Callable[[dict[str, int]], bool]) -> None:
        """Wait for a state of the replicas."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.seen) and true(self.seen[-1][1]), WITHIN_S), self.seen

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._changed:
                self.seen.append((said["at"], said["samplers"]))
                self._changed.notify_all()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, settings=SETTINGS) as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=rig.url, timeout=60, headers={"Authorization": f"Bearer {rig.key}"}) as client:
        yield client


@pytest.fixture
def samplers(rig: Rig) -> Iterator[Samplers]:
    command = [sys.executable, "-W", "ignore", "-m", "ops.scaling.watch", rig.gcs_address]
    with subprocess.Popen(
        command,
        env=rig.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Samplers(process)
        end(process)


def submit(client: httpx.Client, **changed: Any) -> str:
    answer = client.post("/v1/jobs", json=JOB | changed)
    assert answer.status_code == 202, answer.text
    identity: str = answer.json()["id"]
    return identity


def test_samplers_come_with_the_work_and_go_with_it(rig: Rig, client: httpx.Client, samplers: Samplers) -> None:
    samplers.until(lambda states: not states)  # the one that tried the model has gone
    assert httpx.get(f"{rig.url}/readyz", timeout=10).status_code == 200
    began = time.time()

    sent = [submit(client) for _ in range(BACKLOG)]
    deadline = time.monotonic() + WITHIN_S
    while samplers.running()[-1] < 2:  # how fast a sampler is, and how soon one comes, is the machine's affair
        assert time.monotonic() < deadline, samplers.seen
        with rig.reads.connect() as connection:
            waiting = connection.scalar(sa.select(sa.func.count()).where(jobs.c.state == "queued"))
        sent += [submit(client) for _ in range(BACKLOG - int(waiting or 0))]
        time.sleep(0.2)
    sent += [submit(client, n=4, steps=50) for _ in range(2)]  # they run still when a sampler less would do
    samplers.until(lambda states: not states)

    with rig.reads.connect() as connection:
        ended = {row.id: (row.state, row.attempt) for row in connection.execute(sa.select(jobs))}
        steps = connection.execute(sa.select(events.c.kind, events.c.at).where(events.c.at >= began)).all()
    cut = {job: ended[job] for job in sent if ended[job] != ("succeeded", 1)}
    assert not cut, f"cut, or tried again: {cut}\n{rig.troubles()}"
    running = samplers.running()
    after = running[running.index(0) :]
    assert (after[0], max(after), after[-1]) == (0, 2, 0)
    told(began, samplers, steps, len(sent))


def told(began: float, samplers: Samplers, steps: list[Any], sent: int) -> None:
    """What happened, as docs/scaling.md shows it."""
    print(f"\n{sent} jobs of {JOB['n']} images and more")
    lines = [(at, f"samplers {states or 'none'}") for at, states in samplers.seen if at >= began]
    started = [at for kind, at in steps if kind == "started"]
    done = [at for kind, at in steps if kind == "succeeded"]
    lines += [(began, "first job sent"), (min(started), "first job claimed"), (max(started), "last job claimed")]
    lines += [(min(done), "first job done"), (max(done), "last job done")]
    for at, line in sorted(lines):
        print(f"{at - began:7.1f} s  {line}")
