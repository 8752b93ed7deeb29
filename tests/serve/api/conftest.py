"""The api on a real store and artifacts in memory, with a worker that makes grey squares."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from obstore.store import MemoryStore
from PIL import Image
from prometheus_client import CollectorRegistry

from controlnet.architecture import Architecture, ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.bundle import PARTS, TOKENIZER, Control, Defaults, File, Manifest, Size
from serve.api.app import create_app
from serve.api.connections import BOUNDS, Bounds
from serve.config import Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import open_database, soft
from serve.jobs.schema import metadata
from serve.jobs.signals import SqliteSignals
from serve.jobs.store import READY, JobResult, JobStore, Lease, ServedModel, StoredImage, StoredMap
from serve.telemetry import ApiMetrics
from serve.tenancy.principal import Role
from serve.tenancy.tenancy import Tenancy
from serve.tenancy.tenants import Tenant
from tests.serve.api.live import Live

TENANT = "demo"
RANDOM_SEED = 4_000_000_000
MULTIPLE = 32


def picture(width: int = 96, height: int = 64, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 150)).save(buffer, kind, **how)
    return buffer.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def canny(**fields: Any) -> dict[str, Any]:
    return {"type": "canny", "image": b64(picture()), **fields}


class Worker:
    """Does what dispatcher, imaging and sampler would, with its `fate` deciding how a job ends."""

    def __init__(self, store: JobStore, artifacts: ArtifactStore, signals: SqliteSignals) -> None:
        self._store, self._artifacts, self._signals = store, artifacts, signals
        self.leases: list[Lease] = []
        self.claimed = asyncio.Event()
        self.fate: Callable[[Lease], Awaitable[None]] = self.succeed

    @property
    def spec(self) -> Any:
        return self.leases[-1].job.spec

    async def run(self) -> None:
        while True:
            seen = self._signals.generation
            for lease in self._store.claim("worker", 30.0, 8):
                self.leases.append(lease)
                self.claimed.set()
                await self.fate(lease)
            await self._signals.changed(seen)

    async def succeed(self, lease: Lease) -> None:
        spec = lease.job.spec
        images, maps = [], []
        for seed in spec.seeds:
            key = await self._artifacts.put(TENANT, picture(spec.width, spec.height), ".png")
            images.append(StoredImage(key, seed, spec.width, spec.height))
        for control in spec.controls:
            for i, key in enumerate(control.images):
                assert await self._artifacts.exists(key, TENANT)
                maps.append(StoredMap(await self._artifacts.put(TENANT, picture(8 + i, 8), ".png"), control.type, i))
        self._store.succeed(lease, JobResult(tuple(images), tuple(maps), {"sampling": 0.25}))

    async def hold(self, lease: Lease) -> None:
        """Never end it."""

    def fail_with(self, problem: dict[str, Any]) -> None:
        async def fail(lease: Lease) -> None:
            self._store.fail(lease, problem)

        self.fate = fail

    async def cancel(self, lease: Lease) -> None:
        self._store.cancelled(lease)


class Metrics(ApiMetrics):
    """The real ones, and a list of what was observed."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests: list[tuple[str, str, int, float]] = []
        super().__init__(self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        super().observe(method, route, status, seconds)
        self.requests.append((method, route, status, seconds))


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    files = {name: File(sha256="0" * 64, bytes=1) for name in (*PARTS, *TOKENIZER)}
    files |= {f"controls/{name}.safetensors": File(sha256="1" * 64, bytes=1) for name in ("canny", "sketch")}
    architecture = Architecture(
        UNetConfig(model_channels=32, channel_mult=(1, 2, 2), attention_resolutions=(2,), num_heads=2, context_dim=32),
        VAEConfig(channels=32, channel_mult=(1, 2, 2, 2)),
        TextConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2),
        ControlConfig(),
        ScheduleConfig(),
    )
    return Manifest(
        format=1,
        name="controlnet-demo",
        version="1.0.0",
        architecture=architecture,
        native_size=Size(width=128, height=128),
        defaults=Defaults(steps=12, guidance=5.5, negative_prompt="blurry", sampler="dpmpp_2m"),
        controls={
            "canny": Control(
                annotator="canny",
                parameters={"low_threshold": 60.0, "high_threshold": 140.0},
                description="Edges.",
                file="controls/canny.safetensors",
                sha256="1" * 64,
            ),
            "sketch": Control(
                annotator="none",
                parameters={},
                description="Lines drawn by hand.",
                file="controls/sketch.safetensors",
                sha256="1" * 64,
            ),
        },
        files=files,
        licence="Apache-2.0",
        training_data="procedural parts",
        metrics={"canny_f1": 0.5},
        created=datetime(2026, 11, 23, 12, tzinfo=UTC),
    )


@pytest.fixture(scope="session")
def model(manifest: Manifest) -> ServedModel:
    return ServedModel(
        "controlnet-demo", "3", "sha256:" + "ab" * 32, manifest.model_dump(mode="json"), "models:/controlnet-demo/3"
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, max_body=1 << 20, max_pixels_out=512 * 512, _env_file=None)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Engine]:
    """One file for all tests, which need not outlive a power cut: waiting for the disk would be most of their time."""
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('api') / 'jobs.db'}")

    @sa.event.listens_for(engine, "before_cursor_execute", retval=True)
    def no_sync(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("PRAGMA synchronous = FULL", "PRAGMA synchronous = OFF"), parameters

    yield engine
    engine.dispose()


@pytest.fixture
def engine(database: sa.Engine) -> Iterator[sa.Engine]:
    yield database
    with soft(database).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


@pytest.fixture
def bare_store(engine: sa.Engine) -> JobStore:
    """Nothing is served."""
    return JobStore(engine)


@pytest.fixture
def store(bare_store: JobStore, model: ServedModel) -> JobStore:
    bare_store.set_serving(model)
    assert bare_store.take_lock(READY, "dispatcher", 3600)
    return bare_store


@pytest.fixture
def artifacts() -> ArtifactStore:
    return ArtifactStore(MemoryStore())


@pytest.fixture
async def signals(engine: sa.Engine) -> AsyncIterator[SqliteSignals]:
    signals = SqliteSignals(engine)
    yield signals
    signals.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make_app(
    settings: Settings,
    engine: sa.Engine,
    bare_store: JobStore,
    artifacts: ArtifactStore,
    signals: SqliteSignals,
    metrics: Metrics,
) -> Callable[..., FastAPI]:
    """The app with some settings changed."""

    def make(**changes: Any) -> FastAPI:
        changed = settings.model_copy(update=changes)
        tenancy = Tenancy.over(engine, changed)
        return create_app(changed, bare_store, tenancy, artifacts, signals, metrics, random_seed=lambda: RANDOM_SEED)

    return make


@pytest.fixture
def app(make_app: Callable[..., FastAPI]) -> FastAPI:
    return make_app()


@contextlib.asynccontextmanager
async def connected(app: FastAPI, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the key of a member of `TENANT`, or another."""
    transport, headers = httpx.ASGITransport(app), bearer(key or member_key(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def member_key(app: FastAPI) -> str:
    """A new key of a member of `TENANT`."""
    return new_key(app.state.context.tenancy)


def new_key(tenancy: Tenancy, tenant: str = TENANT, role: Role = "member", **how: Any) -> str:
    """A new key, of a team that is declared for it."""
    if tenancy.tenants.get(tenant) is None:
        tenancy.tenants.apply([Tenant(tenant)], "test")
    return tenancy.keys.create(tenant, role, "test", "test", **how).text


@pytest.fixture
async def bare_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Nothing is served."""
    async with connected(app) as client:
        yield client


@pytest.fixture
async def client(bare_client: httpx.AsyncClient, store: JobStore) -> httpx.AsyncClient:
    """A model is served, nobody works."""
    return bare_client


@pytest.fixture
async def worker(store: JobStore, artifacts: ArtifactStore, signals: SqliteSignals) -> AsyncIterator[Worker]:
    worker = Worker(store, artifacts, signals)
    task = asyncio.create_task(worker.run())
    yield worker
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture(scope="session")
def lasting(database: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One server on a real socket for all who get no further than a refusal. A model is served where `store` is."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("still"),
        anonymous=TENANT,
        max_body=1 << 20,
        max_pixels_out=512 * 512,
        _env_file=None,
    )
    signals, metrics = SqliteSignals(database), ApiMetrics(CollectorRegistry())
    store, tenancy, artifacts = JobStore(database), Tenancy.over(database, settings), ArtifactStore(MemoryStore())
    with Live(create_app(settings, store, tenancy, artifacts, signals, metrics)) as server:
        yield server


@pytest.fixture
def still(lasting: Live, engine: sa.Engine, settings: Settings) -> Live:
    """`lasting`, whose strangers are of a team that is declared."""
    Tenancy.over(engine, settings).tenants.apply([Tenant(TENANT)], "test")
    return lasting


@pytest.fixture
def live(
    settings: Settings, engine: sa.Engine, store: JobStore, artifacts: ArtifactStore, metrics: Metrics
) -> Iterator[Callable[..., Live]]:
    """The app on a real socket, its bounds as one likes, until the test ends."""
    with contextlib.ExitStack() as servers:

        def start(*, bounds: Bounds = BOUNDS, body_s: float = 60.0, worker: bool = False, **changes: Any) -> Live:
            signals = SqliteSignals(engine)
            changed = settings.model_copy(update={"anonymous": TENANT, **changes})
            tenancy = Tenancy.over(engine, changed)
            tenancy.tenants.apply([Tenant(TENANT)], "test")
            app = create_app(
                changed,
                store,
                tenancy,
                artifacts,
                signals,
                metrics,
                random_seed=lambda: RANDOM_SEED,
                body_s=body_s,
            )
            work = Worker(store, artifacts, signals).run if worker else None
            return servers.enter_context(Live(app, bounds, work))

        yield start


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem in an answer, after checking that it is a well-formed one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(answer.content)
    assert set(problem) >= {"type", "title", "status", "detail", "request_id"}
    assert set(problem) <= {"type", "title", "status", "detail", "request_id", "errors", "job"}
    assert problem["type"] == "about:blank" or problem["type"].startswith("/problems/")
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert all(set(error) == {"field", "detail"} for error in problem.get("errors", ()))
    return problem


def field_of(answer: httpx.Response, status: int = 422) -> str:
    """The one field a problem names."""
    (error,) = problem_of(answer, status)["errors"]
    field: str = error["field"]
    return field
