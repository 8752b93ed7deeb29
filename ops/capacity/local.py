"""A real load on the real platform, on this machine: what the simulator is calibrated on and compared with.

Jobs are rows in the platform's store, as the api would write them; dispatcher, imaging, sampler and clock are real.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from ops.capacity.trace import Request, Shape
from ops.fairness.service import Teams, teams
from ops.faults.rig import Rig
from serve.imaging.png import encode_png
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.schema import jobs
from serve.jobs.spec import ControlSpec, JobSpec

SETTINGS = {"CN_SAMPLER_THREADS": "1"}
"""On a core of its own, as it would be on a GPU, a sampler's steps take as long whatever the other processes do."""

TENANTS = ("calibration-a", "calibration-b", "calibration-c")


@dataclass(frozen=True, slots=True)
class Done:
    """A job that was really done.

    Attributes:
        request: As it came, in seconds from the first one's coming.
        seconds: To its end.
        timings: Of its phases, as the dispatcher wrote them down.
    """

    request: Request
    seconds: float
    timings: Mapping[str, float]


class Local:
    """The platform, and maps for those jobs that have a control.

    Args:
        teams: Sends jobs.
        maps: The key of each team's control map, by size.
        processes: Those of a role, by id.
    """

    def __init__(
        self, teams: Teams, maps: Mapping[tuple[str, int, int], str], processes: Callable[[str], list[int]]
    ) -> None:
        self.teams = teams
        self.processes = processes
        self._maps = maps

    def alone(self, shape: Shape) -> Done:
        """One job on an idle platform."""
        return self._done([(TENANTS[0], shape, self._send(TENANTS[0], shape))])[0]

    def load(self, requests: Sequence[Request]) -> list[Done]:
        """All of a trace, each at its time; returns when the last has ended."""
        began, sent = time.monotonic(), []
        for one in requests:
            time.sleep(max(0.0, began + one.at - time.monotonic()))
            sent.append((one.tenant, one.shape, self._send(one.tenant, one.shape)))
        return self._done(sent)

    def burst(self, tenant: str, shape: Shape, count: int) -> list[Done]:
        """Equal jobs, all at once."""
        return self._done([(tenant, shape, self._send(tenant, shape)) for _ in range(count)])

    def _send(self, tenant: str, shape: Shape) -> str:
        control: tuple[ControlSpec, ...] = ()
        if shape.controls:
            key = self._maps[tenant, shape.width, shape.height]
            control = (ControlSpec("canny", "none", (key,), {}),) * shape.controls
        spec = JobSpec(
            prompt="a brass gear on a blue bench",
            negative_prompt="",
            seeds=tuple(range(shape.n)),
            steps=shape.steps,
            guidance=shape.guidance,
            width=shape.width,
            height=shape.height,
            controls=control,
        )
        return self.teams.send(tenant, spec)

    def _done(self, sent: Sequence[tuple[str, Shape, str]]) -> list[Done]:
        self.teams.latencies([job_id for _, _, job_id in sent])  # waits, and refuses those that failed
        query = sa.select(jobs.c.id, jobs.c.created_at, jobs.c.finished_at, jobs.c.result)
        with self.teams.reads.connect() as connection:
            rows = {row.id: row for row in connection.execute(query)}
        first = min(rows[job_id].created_at for _, _, job_id in sent)
        return [
            Done(
                Request(rows[job_id].created_at - first, tenant, shape),
                rows[job_id].finished_at - rows[job_id].created_at,
                rows[job_id].result["timings"],
            )
            for tenant, shape, job_id in sent
        ]


@contextmanager
def platform(folder: Path, sizes: Sequence[tuple[int, int]]) -> Iterator[Local]:
    """`cnserve up` in a folder of its own, with `SETTINGS` and the defaults for all else; warm."""
    with Rig(folder, settings=SETTINGS) as rig, teams(rig.database_url) as found:
        store = ArtifactStore.open(rig.artifacts.as_uri())
        maps = {
            (tenant, width, height): asyncio.run(store.put(tenant, _map(width, height), ".png"))
            for tenant in TENANTS
            for width, height in sizes
        }
        local = Local(found, maps, rig.processes)
        for width, height in sizes:
            local.alone(Shape(width=width, height=height, steps=2, n=8, controls=1))
        yield local


def _map(width: int, height: int) -> bytes:
    """A frame, white on black."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[height // 4 : -height // 4, width // 4 : -width // 4] = 255
    picture[height // 4 + 2 : -height // 4 - 2, width // 4 + 2 : -width // 4 - 2] = 0
    return encode_png(picture, {})


def throughput(done: Sequence[Done]) -> float:
    """Images a second, from the first job's coming to the last one's end."""
    return sum(one.request.shape.n for one in done) / max(one.request.at + one.seconds for one in done)


def mean_s(done: Sequence[Done]) -> float:
    """Seconds of a job."""
    return statistics.fmean(one.seconds for one in done)
