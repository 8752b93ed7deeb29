"""The fair order on the running platform: real dispatcher, sampler and clock; teams' jobs are rows in its store.

A light team sends one job now and then. First the batch is filled by another team that never has a job waiting, then by
an aggressor that offers 1.8 times what the platform can do. What the light team should see of the difference is little.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import sqlalchemy as sa

from controlnet.architecture import Architecture
from controlnet.bundle import Manifest
from ops.bench.figure import Figure, percentile
from serve.jobs.cost import cost
from serve.jobs.database import open_database
from serve.jobs.job import TERMINAL
from serve.jobs.schema import events, jobs, usage
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore, ServedModel

OFFERED = 1.8
"""Times capacity, all together."""

LOOK_S = 0.02
ENDED_WITHIN_S = 600.0
LEAST_SENT = 2  # of the light team, also where the machine is so slow that none is due in time

SPEC = JobSpec("a brass gear on a blue bench", "", (1,), steps=20, guidance=3.0, width=64, height=64)
SMALL = replace(SPEC, steps=2, width=32, height=32)


@dataclass(frozen=True, slots=True)
class Teams:
    """Sends jobs of any team, and watches them.

    Args:
        store: Of the platform.
        reads: Its database.
        served: What jobs are pinned to.
        architecture: Prices them.
    """

    store: JobStore
    reads: sa.Engine
    served: ServedModel
    architecture: Architecture

    def send(self, tenant: str, spec: JobSpec = SPEC) -> str:
        """One job; its id."""
        return self.store.submit(tenant, spec, self.served, cost=cost(spec, self.architecture)).id

    def unfinished(self, tenant: str) -> int:
        """Jobs that have not ended."""
        query = sa.select(sa.func.count()).where(jobs.c.tenant == tenant, jobs.c.state.not_in(TERMINAL))
        with self.reads.connect() as connection:
            return connection.scalar(query) or 0

    def latencies(self, ids: Sequence[str]) -> list[float]:
        """Seconds from acceptance to the end, of jobs that succeeded; waits for them.

        Raises:
            RuntimeError: Some have not ended, or otherwise.
        """
        query = sa.select(jobs.c.state, jobs.c.finished_at - jobs.c.created_at).where(jobs.c.id.in_(ids))
        deadline = time.monotonic() + ENDED_WITHIN_S
        while True:
            with self.reads.connect() as connection:
                found = connection.execute(query).all()
            if all(state in TERMINAL for state, _ in found):
                break
            if time.monotonic() > deadline:
                raise RuntimeError(f"jobs have not ended {ENDED_WITHIN_S:.0f} s after")
            time.sleep(LOOK_S)
        if any(state != "succeeded" for state, _ in found):
            raise RuntimeError(f"jobs ended as {Counter(state for state, _ in found)}")
        return [seconds for _, seconds in found]


@contextmanager
def teams(database_url: str) -> Iterator[Teams]:
    """Of a platform that is ready."""
    engine = open_database(database_url)
    try:
        store = JobStore(engine)
        served = store.serving()
        assert served is not None
        manifest = Manifest.model_validate_json(json.dumps(dict(served.manifest)))
        yield Teams(store, engine, served, manifest.architecture)
    finally:
        engine.dispose()


def light_tail(teams: Teams, seats: int, seconds: float, seed: int = 7) -> Figure:
    """A light team's p99 beside the aggressor, over its p99 in a batch that is full without a queue.

    Args:
        teams: Of a platform that nobody else uses.
        seats: Jobs that a full batch holds.
        seconds: Of each of the two runs.
        seed: Of the arrivals.
    """
    luck = random.Random(seed)
    filled: list[str] = []

    def fill() -> None:
        filled.extend(teams.send("filler") for _ in range(seats - 1 - teams.unfinished("filler")))

    with _meanwhile(fill):
        time.sleep(2)  # until the batch is full, and warm
        before = time.monotonic()
        rate = 1 / teams.latencies([teams.send("light")])[0]
        alone = _sent(teams, "light", rate / 2, seconds, luck)
        full = teams.latencies(alone)
        spent = time.monotonic() - before
    teams.latencies(filled)
    capacity = len(filled) / (spent + 2)  # a second: what the others were served while seats were full

    flood: list[str] = []
    began = time.monotonic()

    def attack() -> None:
        wanted = int((time.monotonic() - began) * OFFERED * capacity * 16 / 17)
        least = 2 * seats - teams.unfinished("aggressor")  # some always wait, also where the machine became faster
        flood.extend(teams.send("aggressor") for _ in range(max(wanted - len(flood), least)))

    with _meanwhile(attack):
        time.sleep(2)
        light = _sent(teams, "light", OFFERED * capacity / 17, seconds, luck)
        beside = teams.latencies(light)
        backlog = teams.unfinished("aggressor")
    teams.latencies(flood)
    return Figure(
        "C5",
        "light p99 beside an aggressor / in a full batch, on the running platform",
        percentile(beside, 0.99) / percentile(full, 0.99),
        1.5,
        at_most=True,
        detail={
            "full batch p50 s": percentile(full, 0.5),
            "full batch p99 s": percentile(full, 0.99),
            "beside p50 s": percentile(beside, 0.5),
            "beside p99 s": percentile(beside, 0.99),
            "light jobs": [len(full), len(beside)],
            "capacity jobs/s": capacity,
            "aggressor's jobs waiting at the end": backlog,
            "waiting jobs that went before a light one, at most": max(_went_before(teams, light, flood)),
        },
    )


def _went_before(teams: Teams, light: Collection[str], flood: Collection[str]) -> list[int]:
    """For each light job, how many of the others that waited when it came were started before it."""
    columns = (jobs.c.id, jobs.c.created_at, jobs.c.started_at)
    with teams.reads.connect() as connection:
        rows = {row.id: row for row in connection.execute(sa.select(*columns))}
    return [
        sum(
            other.created_at < mine.created_at < other.started_at < mine.started_at
            for other in map(rows.__getitem__, flood)
        )
        for mine in map(rows.__getitem__, light)
    ]


def crowd(teams: Teams, tenants: int, each: int) -> Counter[str]:
    """Many teams with many small jobs each.

    Returns:
        How many jobs there are, and how many of them have one end and one usage row at the price they were accepted at.

    Raises:
        RuntimeError: Some did not succeed.
    """
    ids = [teams.send(f"team-{number % tenants}", SMALL) for number in range(tenants * each)]
    teams.latencies(ids)
    price = cost(SMALL, teams.architecture).gflop
    ends = sa.select(events.c.job_id).where(events.c.kind.in_(TERMINAL))
    counted = sa.select(usage.c.job_id).where(usage.c.gflop == price)
    found = Counter[str]()
    with teams.reads.connect() as connection:
        for name, query in (("jobs", sa.select(jobs.c.id)), ("ended once", ends), ("counted once", counted)):
            times = Counter(connection.scalars(query))
            found[name] = sum(times[job_id] == 1 for job_id in ids)
    return found


def _sent(teams: Teams, tenant: str, rate: float, seconds: float, luck: random.Random) -> list[str]:
    """Jobs of a team at random times for so many seconds, and until `LEAST_SENT` are sent; their ids."""
    end = time.monotonic() + seconds
    ids: list[str] = []
    while (pause := luck.expovariate(rate)) < end - time.monotonic() or len(ids) < LEAST_SENT:
        time.sleep(pause)
        ids.append(teams.send(tenant))
    return ids


@contextmanager
def _meanwhile(work: Callable[[], object]) -> Iterator[None]:
    """Do something again and again in a thread."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(LOOK_S):
            work()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
