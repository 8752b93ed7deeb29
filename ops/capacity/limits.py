"""What stands between one machine and many GPUs: how much the store, a dispatcher and the artifact path carry.

Each is measured here, alone, and set against what a GPU of each kind makes: so many GPUs later it is full.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from controlnet.architecture import SD15
from ops.bench.figure import Figure
from ops.bench.processor import of as processor_s
from ops.bench.table import Table
from ops.capacity.local import TENANTS, platform
from ops.capacity.mix import Mix
from ops.capacity.planning import LARGEST, largest
from ops.capacity.prices import read_prices
from ops.capacity.trace import Shape, price
from ops.capacity.traffic import SHAPES
from ops.services import Missing, Postgres
from serve.imaging.png import encode_png
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import open_database
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobResult, JobStore, ModelVersion, StoredImage

WRITERS = 4
"""Threads that write at once: apis, or a dispatcher's."""

ROOM = 18
"""Rows of one claim: what one sampler's dispatcher asks for."""

PLANNED = 0.7
"""Of a GPU's rate."""

SIDE = 512
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "model-astronaut.jpg"
MODEL = ModelVersion("capacity", "1", "sha256:00")


@dataclass(frozen=True, slots=True)
class Limit:
    """One resource.

    Attributes:
        what: It is.
        images_per_s: At which it is full.
        then: What changes there.
    """

    what: str
    images_per_s: float
    then: str


def measure(quick: bool, say: Callable[[str], None]) -> list[Figure | Table]:
    """Everything, and what it means in GPUs."""
    seconds = 2.0 if quick else 8.0
    images_per_job = sum(shape.n * share for shape, share in SHAPES) / sum(share for _, share in SHAPES)
    results: list[Figure | Table] = []
    limits: list[Limit] = []
    for name, open_url in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
        say(f"{name} ...")
        try:
            with open_url() as url:
                submits, jobs = store(url, seconds)
        except Missing as why:
            say(f"without {name}: {why}")
            continue
        results += [
            Figure(name, f"jobs submitted a second, {WRITERS} writers", submits, None),
            Figure(name, f"jobs claimed, progressed and ended a second, {WRITERS} writers", jobs, None),
        ]
        both = 1 / (1 / submits + 1 / jobs)  # the same database does both
        limits.append(Limit(f"{name}, submitting and ending jobs", both * images_per_job, THEN[name]))
    say("a dispatcher and imaging ...")
    dispatcher, imaging = processor(40 if quick else 200)
    results += [
        Figure("dispatcher", "ms of processor a job of one image", 1000 * dispatcher, None),
        Figure("imaging", "ms of processor a job of one image at 32 x 32", 1000 * imaging, None),
    ]
    limits.append(Limit("one dispatcher, one core", images_per_job / dispatcher, THEN["dispatcher"]))
    say("pictures ...")
    encoded, puts, size = pictures(seconds)
    results += [
        Figure("PNG", f"encoded a second, one core, {SIDE} x {SIDE}, {size / 1024:.0f} KiB", encoded, None),
        Figure("artifacts", f"put a second into a folder ({puts * size / 1e6:.0f} MB/s)", puts, None),
    ]
    limits.append(Limit("imaging, a core", encoded, THEN["PNG"]))
    limits.append(Limit("artifacts in one folder", puts, THEN["artifacts"]))
    say(f"the simulator, {LARGEST:,} GPUs ...")
    began = time.perf_counter()
    largest(read_prices()["a100"])
    results.append(Figure("simulator", f"seconds for a day of {LARGEST:,} GPUs", time.perf_counter() - began, None))
    return [*results, in_gpus(limits)]


THEN = {
    "SQLite": "PostgreSQL: one setting (`CN_DATABASE`)",
    "PostgreSQL": "a larger server; then a database for each group of tenants, since no transaction spans two",
    "dispatcher": "more dispatchers on one store: claims are leases, so none needs to know of another "
    "(`serve/deployments/app.py` starts one)",
    "PNG": "imaging is autoscaled: more replicas, a core each",
    "artifacts": "blob storage (`CN_ARTIFACTS=az://`), whose limits are an account's; then an account for each group "
    "of tenants: keys begin with the tenant",
}


def in_gpus(limits: Sequence[Limit]) -> Table:
    """The first to be full comes first."""
    gpus = read_prices()
    rates = {}
    for name, gpu in gpus.items():
        mix = Mix(gpu, SHAPES, SD15)
        rates[name] = PLANNED * mix.rate(round(mix.jobs)) * mix.images_per_job
    rows = [
        [one.what, f"{one.images_per_s:.0f}", *(f"{one.images_per_s / rates[name]:.0f}" for name in gpus), one.then]
        for one in sorted(limits, key=lambda one: one.images_per_s)
    ]
    kinds = [f"{name} ({gpu.table.basis})" for name, gpu in gpus.items()]
    columns = ["full first", "at images/s", *kinds, "what changes then"]
    return Table(f"Where it ends, and of how many GPUs at {PLANNED:.0%} that is", columns, rows)


def store(url: str, seconds: float) -> tuple[float, float]:
    """Jobs submitted, and jobs carried from claim to end, each second."""
    engine = open_database(url)
    try:
        jobs = JobStore(engine)
        spec = JobSpec("a brass gear", "", (1,), steps=20, guidance=7.5, width=SIDE, height=SIDE)
        cost = price(Shape(controls=0), SD15)
        tenants = itertools.cycle(f"team-{i}" for i in range(8))
        submitted = _rate(lambda: _one(jobs.submit(next(tenants), spec, MODEL, cost=cost)), seconds)

        def carry() -> int:
            leases = jobs.claim("capacity", 60.0, ROOM)
            for lease in leases:
                picture = StoredImage(f"{lease.job.id}.png", 1, SIDE, SIDE)
                jobs.progress([(lease, {"steps": [10], "of": 20})])
                jobs.image_done(lease, 0, picture)
                jobs.succeed(lease, JobResult((picture,)))
            return len(leases)

        return submitted, _rate(carry, seconds)
    finally:
        engine.dispose()


def processor(jobs: int) -> tuple[float, float]:
    """Seconds of processor of the dispatcher and of imaging, for each job of one small image."""
    shape = Shape(32, 32, steps=2, guidance=3.0, controls=0)
    with tempfile.TemporaryDirectory(prefix="cn-limits-") as folder, platform(Path(folder), ((32, 32),)) as local:
        for _ in range(10):
            local.alone(shape)
        roles = ("dispatcher", "imaging")
        idle_s = 5.0
        start = {role: _processor_s(local.processes(role)) for role in roles}
        time.sleep(idle_s)
        idle = {role: (_processor_s(local.processes(role)) - start[role]) / idle_s for role in roles}
        start, began = {role: _processor_s(local.processes(role)) for role in roles}, time.monotonic()
        local.burst(TENANTS[0], shape, jobs)
        spent = time.monotonic() - began
        used = {role: _processor_s(local.processes(role)) - start[role] - idle[role] * spent for role in roles}
    return max(used["dispatcher"], 1e-6) / jobs, max(used["imaging"], 1e-6) / jobs


def pictures(seconds: float) -> tuple[float, float, int]:
    """PNGs encoded a second, and stored a second, and the bytes of one."""
    sheet = cv2.imread(str(PICTURE))
    picture = np.ascontiguousarray(cv2.resize(sheet, (SIDE, SIDE))[..., ::-1])
    count, began = 0, time.process_time()  # of a core to itself, whoever else uses this one
    while time.process_time() - began < seconds:
        png = encode_png(picture, {"seed": count})
        count += 1
    encoded = count / (time.process_time() - began)
    with tempfile.TemporaryDirectory(prefix="cn-artifacts-") as folder:
        return encoded, asyncio.run(_puts(ArtifactStore.open(Path(folder).as_uri()), png, seconds)), len(png)


async def _puts(artifacts: ArtifactStore, png: bytes, seconds: float) -> float:
    """Of pictures that are all unlike, some at once."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        unlike = [png + (count + i).to_bytes(8, "big") for i in range(WRITERS)]
        await asyncio.gather(*(artifacts.put("team", one, ".png") for one in unlike))
        count += WRITERS
    return count / (time.perf_counter() - began)


def _rate(work: Callable[[], int], seconds: float) -> float:
    """What several threads do a second, all told; each until there is nothing left for it to do, at most so long."""
    began = time.perf_counter()

    def again(_: int) -> int:
        done = 0
        while time.perf_counter() - began < seconds and (more := work()):
            done += more
        return done

    with ThreadPoolExecutor(WRITERS) as threads:
        done = sum(threads.map(again, range(WRITERS)))
    return done / (time.perf_counter() - began)


def _one(_: object) -> int:
    return 1


def _processor_s(processes: Sequence[int]) -> float:
    """Of some processes so far."""
    return sum(map(processor_s, processes))


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="cn-limits-") as folder:
        yield f"sqlite:///{folder}/jobs.db"


@contextmanager
def _postgresql() -> Iterator[str]:
    with Postgres() as server:
        yield server.url()
