"""A dispatcher over a real job store, with handles that a test plays."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about Ray's own models
    import ray.serve  # noqa: F401
    from ray.serve.exceptions import DeploymentUnavailableError

from controlnet.warnings import ResultWarning
from ops.services import Postgres
from serve.config import Settings
from serve.deployments import dispatcher as module
from serve.deployments.dispatcher import Dispatcher
from serve.deployments.messages import Progress, Sampled, SamplerJob, Steered, StoredMaps
from serve.jobs import transitions
from serve.jobs.cost import Cost
from serve.jobs.database import open_database
from serve.jobs.job import TERMINAL, State
from serve.jobs.pace import Pace
from serve.jobs.rollouts import Rollout
from serve.jobs.signals import PostgresSignals, Signals, open_signals
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import Job, JobStore, ModelVersion, ServedModel, StoredImage, StoredMap
from serve.registry.reconciler import Stage

MAPS = (StoredMap("acme/ma/map.png", "canny", 0),)


class Method:
    """What a handle has for each method."""

    def __init__(self, remote: Callable[..., Any]) -> None:
        self.remote = remote


class Probe:
    """A `probe` method: raises what a test queued, and counts."""

    def __init__(self) -> None:
        self.errors: deque[BaseException] = deque()
        self.asked: list[tuple[str, ...]] = []

    async def remote(self, *about: str) -> None:
        self.asked.append(about)
        if self.errors:
            raise self.errors.popleft()


class Answer:
    """What `annotate` gives: handed on, never read."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Imaging:
    """Stands for the imaging handle. A test may queue errors for its next calls."""

    def __init__(self) -> None:
        self.annotate, self.store_maps = Method(self._annotate), Method(self._store_maps)
        self.publish = Method(self._publish)
        self.probe = Probe()
        self.annotated: list[Answer] = []
        self.seen: list[object] = []  # along with each picture
        self.map_errors: deque[Exception] = deque()
        self.publish_errors: deque[Exception] = deque()
        self.parameters: list[Mapping[str, Any]] = []
        self.steered: list[Steered | None] = []
        self.maps: tuple[StoredMap, ...] = MAPS
        self.warnings: tuple[ResultWarning, ...] = ()
        self.suffix = ".png"  # of the keys of pictures
        self._stores, self._stores_maps = asyncio.Event(), asyncio.Event()
        self._stores.set()
        self._stores_maps.set()

    def hold_publishing(self) -> asyncio.Event:
        """Nothing is stored until the event is set."""
        self._stores.clear()
        return self._stores

    def hold_maps(self) -> asyncio.Event:
        """No map is stored until the event is set."""
        self._stores_maps.clear()
        return self._stores_maps

    def _annotate(self, tenant: str, spec: JobSpec, trace: str | None) -> Answer:
        self.annotated.append(Answer())
        return self.annotated[-1]

    async def _store_maps(self, tenant: str, spec: JobSpec, maps: object, trace: str | None) -> StoredMaps:
        await self._stores_maps.wait()
        if self.map_errors:
            raise self.map_errors.popleft()
        return StoredMaps(self.maps, seconds=0.5, warnings=self.warnings)

    async def _publish(
        self,
        tenant: str,
        picture: object,
        seed: int,
        parameters: Mapping[str, Any],
        steered: Steered | None,
        maps: object,
        trace: str | None,
    ) -> StoredImage:
        self.steered.append(steered)
        self.seen.append(maps)
        await self._stores.wait()
        if self.publish_errors:
            raise self.publish_errors.popleft()
        self.parameters.append(parameters)
        return StoredImage(f"{tenant}/{seed}{self.suffix}", seed, 256, 192)


class Stream:
    """One `generate` call: what a test sends is what the dispatcher gets."""

    def __init__(self, work: SamplerJob, maps: object) -> None:
        self.work, self.maps = work, maps
        self.cancelled = asyncio.Event()
        self._events: asyncio.Queue[Progress | Sampled | BaseException] = asyncio.Queue()

    def send(self, *events: Progress | Sampled | BaseException) -> None:
        for event in events:
            self._events.put_nowait(event)

    def finish(self) -> None:
        """All that were asked for, the last first, and the end."""
        for i in reversed(self.work.images):
            self.send(Sampled(i, picture=object(), seconds=1.0))
        self.send(StopAsyncIteration())

    def cancel(self) -> None:
        self.cancelled.set()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Progress | Sampled:
        event = await self._events.get()
        if isinstance(event, BaseException):
            raise event
        return event


class Sampler:
    """Stands for the sampler handle; `streams` has the calls in their order, `broadcasts` what the next ones give."""

    def __init__(self) -> None:
        self.generate = Method(self._generate)
        self.probe = Probe()
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.broadcasts: deque[list[None] | Exception] = deque()
        self.prepared: list[ServedModel] = []
        self.paces: deque[list[Any] | Exception] = deque()
        self.running: list[tuple[str, Pace | None]] = [("sampler", None)]  # who answers when nothing else was queued

    def options(self, *, stream: bool) -> Sampler:
        assert stream
        return self

    def broadcast(self, method: str, *served: ServedModel) -> Broadcast:
        if method == "pace":
            if self.paces:
                return Broadcast(self.paces.popleft())
            return Broadcast(self.running or DeploymentUnavailableError("sampler"))
        assert method == "prepare"
        self.prepared.extend(served)
        return Broadcast(self.broadcasts.popleft())

    def _generate(self, work: SamplerJob, maps: object) -> Stream:
        stream = Stream(work, maps)
        self.streams.put_nowait(stream)
        return stream


@dataclass
class Broadcast:
    """The answers of all replicas."""

    outcome: list[Any] | Exception

    async def results_async(self, return_exceptions: bool = False) -> list[Any]:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class Reconciler:
    """Stands for the one that would open MLflow."""

    prepare: Callable[[ServedModel], Awaitable[None]]
    warm: bool = False
    error: Exception | None = None
    fault: Stage | None = None
    looks: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    @property
    def status(self) -> Reconciler:
        self.looks.put_nowait(None)
        return self

    @property
    def rollout(self) -> Rollout:
        return Rollout("controlnet-demo", "failed" if self.fault else "loading", "3", "1", self.fault)

    async def tick(self) -> None:
        if self.error is not None:
            raise self.error


class Platform:
    """Everything around a dispatcher, and the dispatchers that a test starts."""

    def __init__(self, folder: Path, engine: sa.Engine, signals: Signals) -> None:
        self.folder = folder
        self.engine = engine
        self.store = JobStore(engine, max_attempts=3)
        self.imaging = Imaging()
        self.sampler = Sampler()
        self.reconciler = Reconciler(self._unset)
        self.started: list[Dispatcher] = []
        self.session = "session_2026-11-22_10-00-00_000000_1"
        self._signals = signals

    def start(
        self, lease: float = 30.0, rows_in_flight: int | None = 16, adherence_share: float = 0.0, fewest: int = 1
    ) -> Dispatcher:
        settings = Settings(
            data_dir=self.folder,
            database=self.engine.url.render_as_string(hide_password=False),
            lease=lease,
            rows_in_flight=rows_in_flight,
            adherence_share=adherence_share,
            sampler_replicas=(fewest, 4),
        )
        dispatcher = Dispatcher(settings, self.imaging, self.sampler)
        self.started.append(dispatcher)
        return dispatcher

    async def end(self, dispatcher: Dispatcher) -> None:
        """What Ray Serve does in an orderly shutdown."""
        tasks = [*dispatcher._loops, *dispatcher._running]
        dispatcher.__del__()
        await asyncio.gather(*tasks, return_exceptions=True)
        dispatcher._signals.close()
        dispatcher._store._reads.dispose()

    def submit(self, spec: JobSpec) -> Job:
        priced = Cost(spec.n * spec.rows, 1.0, spec.steps, 0.1)
        return self.store.submit("acme", spec, ModelVersion("demo", "3", "sha256:aa"), cost=priced)

    async def when(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of the store."""
        async for _ in self._signals.changes():
            if true():
                return

    async def reached(self, job: Job, *states: State) -> Job:
        """The job once it is in one of `states`."""
        await self.when(lambda: self.get(job).state in states)
        return self.get(job)

    async def ended(self, job: Job) -> Job:
        return await self.reached(job, *TERMINAL)

    def get(self, job: Job) -> Job:
        found = self.store.get(job.id)
        assert found is not None
        return found

    def kinds(self, job: Job) -> list[str]:
        return [event.kind for event in self.store.events(job.id)]

    async def _unset(self, served: ServedModel) -> None:
        raise AssertionError("no dispatcher was started")


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Where the jobs are; `postgres_database` for the other kind."""
    return f"sqlite:///{(tmp_path / 'jobs.db').resolve()}"


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """An empty database of the server."""
    server = sa.create_engine(postgres.url(), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE dispatched")
    yield postgres.url("dispatched")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE dispatched WITH (FORCE)")
    server.dispose()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    """Over the fixture that `indirect` names, `database` else."""
    engine = open_database(request.getfixturevalue(getattr(request, "param", "database")))
    yield engine
    engine.dispose()


@pytest.fixture
async def platform(tmp_path: Path, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    signals = open_signals(engine)
    platform = Platform(tmp_path, engine, signals)

    def reconciler(_registry: object, _store: object, prepare: Callable[..., Any], *_: object) -> Reconciler:
        platform.reconciler.prepare = prepare
        return platform.reconciler

    monkeypatch.setattr(module, "Reconciler", reconciler)
    monkeypatch.setattr(module, "configure_logging", lambda level: None)
    monkeypatch.setattr(module, "session_name", lambda: platform.session)
    monkeypatch.setattr(transitions, "RESTS_S", (0.0, 0.0, 0.0))
    yield platform
    for dispatcher in platform.started:
        await platform.end(dispatcher)
    signals.close()
    if isinstance(signals, PostgresSignals) and signals._task is not None:
        await asyncio.wait({signals._task})  # its connection ends with it, not with the loop


@pytest.fixture
def spec() -> JobSpec:
    control = ControlSpec("canny", "canny", ("acme/in.png",), {"low_threshold": 100.0})
    return JobSpec("a house", "", (7, 8), steps=20, guidance=7.5, width=256, height=192, controls=(control,))
