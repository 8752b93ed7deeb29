"""A database that 0.1 left behind, opened by today's program: all that was in it is there, and goes on.

`databases/` has the dumps, `databases/fill.py` made them by running 0.1. They hold rows and no artifacts.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from obstore.store import MemoryStore
from prometheus_client import CollectorRegistry

from ops.services import Postgres
from serve.api.app import create_app
from serve.config import Settings
from serve.errors import IdempotencyInFlight
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import durable, open_database
from serve.jobs.job import Lease
from serve.jobs.migrations import downgrade, upgrade
from serve.jobs.quotas import Quota
from serve.jobs.retention import ArtifactsSwept
from serve.jobs.schema import metadata
from serve.jobs.signals import open_signals
from serve.jobs.store import READY, JobResult, JobStore, StoredImage
from serve.telemetry import ApiMetrics
from serve.tenancy.tenancy import Tenancy
from tests.compat.growth import lost

DUMPS = Path(__file__).parent / "databases"
SCHEMA = "3"
"""The version of the dumps' tables."""

SAID: Mapping[str, Any] = json.loads((DUMPS / "0.1.json").read_text())
JOBS: Mapping[str, str] = SAID["jobs"]
TENANTS = {"admin": "demo", "atelier": "atelier"}
STATES = {job: state for shown in SAID["shown"].values() for job, state in shown["jobs"]}

MOVED: Mapping[str, str] = {}
"""`table.column` of 0.1 that a later version keeps elsewhere, and the test that says where. Additions need no entry."""

Rows = dict[str, tuple[list[str], list[tuple[Any, ...]]]]


class Clock:
    """Begins where 0.1 stopped."""

    def __init__(self) -> None:
        self.now: float = SAID["at"]

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is such a place."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        yield Path(name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest, memory: Path) -> Callable[[], AbstractContextManager[str]]:
    """Gives databases as 0.1 left them; the dump is read once."""
    names = (f"copy_{i}" for i in count())
    if request.param == "sqlite":
        connection = sqlite3.connect(memory / "dump.db")
        connection.executescript((DUMPS / "0.1.sqlite.sql").read_text())
        connection.close()

        @contextmanager
        def copy() -> Iterator[str]:
            (memory / (folder := next(names))).mkdir()
            yield f"sqlite:///{shutil.copy(memory / 'dump.db', memory / folder / 'jobs.db')}"

        return copy
    server: Postgres = request.getfixturevalue("postgres")
    how: dict[str, Any] = {"host": str(server.folder), "user": "postgres", "autocommit": True}
    with psycopg.connect(dbname="postgres", **how) as connection:
        connection.execute("DROP DATABASE IF EXISTS dump")
        connection.execute("CREATE DATABASE dump")
    with psycopg.connect(dbname="dump", **how) as connection:
        connection.execute((DUMPS / "0.1.postgresql.sql").read_bytes())

    @contextmanager
    def copy_database() -> Iterator[str]:
        name = next(names)
        with psycopg.connect(dbname="postgres", **how) as connection:
            copying = "STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""  # a third of the time
            connection.execute(f"CREATE DATABASE {name} TEMPLATE dump {copying}")
            yield server.url(name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    return copy_database


Copies = Callable[[], AbstractContextManager[str]]


@pytest.fixture(scope="module")
def before(copies: Copies) -> Rows:
    """Every table's columns and rows before today's program saw them."""
    with copies() as url:
        engine = sa.create_engine(url)
        inspector = sa.inspect(engine)
        tables = [name for name in inspector.get_table_names() if name != "alembic_version"]
        found = rows(engine, {name: [c["name"] for c in inspector.get_columns(name)] for name in tables})
        engine.dispose()
    return found


@pytest.fixture(scope="module")
def opened(copies: Copies) -> Iterator[sa.Engine]:
    """One database for all tests that change nothing in it."""
    with copies() as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def past(opened: sa.Engine) -> JobStore:
    """That database's jobs."""
    return JobStore(opened, Clock())


@pytest.fixture(scope="module")
def app(opened: sa.Engine) -> Iterator[FastAPI]:
    """The api over it."""
    with over(opened) as app:
        yield app


@pytest.fixture
def engine(copies: Copies) -> Iterator[sa.Engine]:
    """A database of one's own."""
    with copies() as url:
        engine = open_database(url)
        yield engine
        engine.dispose()


@pytest.fixture
def store(engine: sa.Engine, clock: Clock) -> JobStore:
    return JobStore(engine, clock)


@contextmanager
def over(engine: sa.Engine) -> Iterator[FastAPI]:
    """The api over a database."""
    settings, clock, signals = Settings(_env_file=None), Clock(), open_signals(engine)
    tenancy, metrics = Tenancy.over(engine, settings, clock), ApiMetrics(CollectorRegistry())
    artifacts = ArtifactStore(MemoryStore())
    yield create_app(settings, JobStore(engine, clock), tenancy, artifacts, signals, metrics, clock=clock)
    signals.close()


def client(app: FastAPI, key: str) -> httpx.AsyncClient:
    """The api, as the holder of one of 0.1's keys."""
    byte = SAID["keys"][key]["byte"]
    key_id, secret = (base64.b32encode(bytes([byte]) * size).decode().rstrip("=").lower() for size in (10, 32))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://localhost",
        headers={"Authorization": f"Bearer cn_{key_id[:10]}_{secret}"},
    )


def rows(engine: sa.Engine, columns: Mapping[str, list[str]]) -> Rows:
    """What tables hold in these columns, in no order."""
    found = {}
    with engine.connect() as connection:
        for table, names in columns.items():
            listed = ", ".join(f'"{name}"' for name in names)
            read = connection.exec_driver_sql(f'SELECT {listed} FROM "{table}"').all()
            found[table] = (names, sorted((tuple(row) for row in read), key=repr))
    return found


def kept(engine: sa.Engine, before: Rows) -> None:
    """Fail where a column or a row of 0.1 is not there any more, or says something else."""
    here = {table: [name for name in names if f"{table}.{name}" not in MOVED] for table, (names, _) in before.items()}
    inspector = sa.inspect(engine)
    gone = {
        f"{table}.{name}"
        for table, names in here.items()
        for name in set(names)
        - ({c["name"] for c in inspector.get_columns(table)} if inspector.has_table(table) else set())
    }
    assert not gone, f"taken away: {', '.join(sorted(gone))}"
    whole = {table: names for table, names in here.items() if len(names) == len(before[table][0])}
    now = rows(engine, whole)
    for table in whole:
        assert now[table] == before[table], f"the rows of {table} changed"


def named(name: str, store: JobStore) -> Any:
    """A job of 0.1."""
    return store.get(JOBS[name])


def finish(store: JobStore, lease: Lease) -> None:
    """End a job as a sampler would."""
    spec = lease.job.spec
    images = tuple(StoredImage(f"{lease.job.tenant}/new{seed}.png", seed, 128, 96) for seed in spec.seeds)
    store.succeed(lease, JobResult(images, (), {"sampling": 1.0}))


def test_every_table_of_the_dump_has_rows(before: Rows) -> None:
    """A table that is empty in the dump is not held to anything."""
    assert [table for table, (_, found) in before.items() if not found] == []


def test_the_dump_has_jobs_in_every_state(before: Rows) -> None:
    assert set(STATES.values()) == {"queued", "running", "succeeded", "failed", "cancelled"}
    columns, found = before["deliveries"]
    assert {row[columns.index("state")] for row in found} == {"pending", "delivered", "abandoned"}


def test_opening_keeps_every_column_and_row(opened: sa.Engine, before: Rows) -> None:
    kept(opened, before)


def test_the_program_knows_every_column(before: Rows) -> None:
    known = {f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in table.c}
    had = {f"{table}.{name}" for table, (names, _) in before.items() for name in names}
    assert had - known - set(MOVED) == set()


def test_going_down_to_its_tables_and_up_keeps_every_row(engine: sa.Engine, before: Rows) -> None:
    downgrade(durable(engine), SCHEMA)
    kept(engine, before)
    upgrade(engine, durable(engine))
    kept(engine, before)


@pytest.mark.parametrize("taken", ["ALTER TABLE jobs DROP COLUMN trace", "DROP TABLE paces"])
def test_a_column_or_table_that_is_taken_away_is_noticed(engine: sa.Engine, before: Rows, taken: str) -> None:
    with durable(engine).begin() as connection:
        connection.exec_driver_sql(taken)
    with pytest.raises(AssertionError, match=r"taken away: (jobs\.trace|paces\.)"):
        kept(engine, before)


@pytest.mark.parametrize(
    "changed", ["UPDATE jobs SET attempt = 9 WHERE state = 'queued'", "DELETE FROM keys WHERE name = 'viewer'"]
)
def test_a_row_that_is_changed_or_lost_is_noticed(engine: sa.Engine, before: Rows, changed: str) -> None:
    with durable(engine).begin() as connection:
        connection.exec_driver_sql(changed)
    with pytest.raises(AssertionError, match=r"the rows of (jobs|keys) changed"):
        kept(engine, before)


def test_every_job_is_in_the_state_it_was_in(past: JobStore) -> None:
    assert {job_id: past.get(job_id).state for job_id in STATES} == STATES  # type: ignore[union-attr]


@pytest.mark.parametrize("key", TENANTS)
def test_a_teams_jobs_are_listed_in_their_order(past: JobStore, key: str) -> None:
    listed = [job_id for job_id, _ in SAID["shown"][key]["jobs"]]
    found, after = [], None
    while True:
        page = past.page(TENANTS[key], after=after, limit=4)
        found += [job.id for job in page.jobs]
        if (after := page.after) is None:
            break
    assert found == listed


@pytest.mark.parametrize("key", TENANTS)
async def test_the_api_says_of_all_what_it_said(app: FastAPI, key: str) -> None:
    """Jobs, their events, usage, keys, the audit log, the model that is served."""
    missing = []
    async with client(app, key) as api:
        for path, said in SAID["shown"][key].items():
            if path == "jobs":
                continue
            answer = await api.get(path)
            now = messages(answer.text) if path.endswith("/events") else answer.json()
            missing += [f"{path}: {change}" for change in lost(said, now)]
    assert missing == []


def messages(stream: str) -> list[list[Any]]:
    """The events of a stream that ended: id, kind, data."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append([fields.get("id"), fields["event"], json.loads(fields["data"])])
    return found


async def test_a_stream_goes_on_after_an_event_that_0_1_told(app: FastAPI) -> None:
    path = f"/v1/jobs/{JOBS['succeeded']}/events"
    ids = [event[0] for event in SAID["shown"]["admin"][path]]
    async with client(app, "admin") as api:
        answer = await api.get(path, headers={"Last-Event-ID": ids[1]})
        assert [event[0] for event in messages(answer.text)] == ids[2:]
        assert (await api.get(path, headers={"Last-Event-ID": ids[-1]})).status_code == 204


async def test_a_key_opens_what_it_opened(app: FastAPI) -> None:
    """Those of each role, and those that were revoked, ran out, were rotated, or were of a team that is gone."""
    expected, found = {}, {}
    for name, key in SAID["keys"].items():
        expected[name] = (401, 401) if not key["opens"] else (200, 200 if key["role"] == "admin" else 403)
        async with client(app, name) as api:
            found[name] = tuple([(await api.get(path)).status_code for path in ("/v1/jobs", "/v1/keys")])
    assert found == expected
    assert set(expected.values()) == {(200, 200), (200, 403), (401, 401)}


@pytest.mark.parametrize(("number", "name"), list(enumerate(SAID["requests"])))
async def test_a_request_that_is_sent_again_is_the_job_it_was(app: FastAPI, number: int, name: str) -> None:
    body, headers = SAID["requests"][name], {"Idempotency-Key": f"replay-{number}"}
    async with client(app, "member") as api:
        answer = await api.post("/v1/jobs", json=body, headers=headers)
        assert (answer.json()["id"], answer.headers["Idempotent-Replayed"]) == (JOBS[name], "true")
        other = await api.post("/v1/jobs", json=body | {"prompt": "another"}, headers=headers)
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-mismatch")


def test_a_key_whose_request_was_being_accepted_is_free_after_a_minute(store: JobStore, clock: Clock) -> None:
    with pytest.raises(IdempotencyInFlight):
        store.idempotency.reserve("demo", "being-accepted", "1" * 64)
    clock.advance(60)
    assert not isinstance(store.idempotency.reserve("demo", "being-accepted", "1" * 64), str)


def test_what_waits_is_started_and_ends(store: JobStore) -> None:
    waiting = {job_id for job_id, state in STATES.items() if state == "queued"}
    leases = store.claim("today", 30.0, 100)
    assert {lease.job.id for lease in leases} == waiting
    for lease in leases:
        finish(store, lease)
    assert {store.get(job_id).state for job_id in waiting} == {"succeeded"}  # type: ignore[union-attr]
    assert named("queued again", store).attempt == 2


def test_a_worker_of_0_1_may_go_on_and_end_its_job(engine: sa.Engine, store: JobStore) -> None:
    """While a platform is upgraded: its lease is the row's."""
    job = named("running", store)
    lease = Lease(job, "dispatcher-1", 1, job.attempt, store.retention.mark())
    assert store.renew([lease], 30.0) == []
    finish(store, lease)
    assert named("running", store).state == "succeeded"
    assert store.deliveries.of(job.id) is not None


def test_what_ran_is_started_again_when_its_worker_went_silent(store: JobStore, clock: Clock) -> None:
    clock.advance(60)
    leases = {lease.job.id: lease for lease in store.claim("today", 30.0, 100)}
    for name in ("running", "running map"):
        assert leases[JOBS[name]].attempt == 2
        finish(store, leases[JOBS[name]])
        assert named(name, store).state == "succeeded"
    assert named("running, to be cancelled", store).state == "cancelled"


def test_what_waits_can_be_cancelled(store: JobStore) -> None:
    assert store.request_cancel(JOBS["queued batch"], "demo").state == "cancelled"  # type: ignore[union-attr]
    assert store.request_cancel(JOBS["succeeded"], "demo").state == "succeeded"  # type: ignore[union-attr]


def test_an_event_of_today_comes_after_all_of_0_1(store: JobStore, before: Rows) -> None:
    columns, found = before["events"]
    (lease, *_) = store.claim("today", 30.0, 1)
    assert store.events(lease.job.id)[-1].id > max(row[columns.index("id")] for row in found)


def test_a_webhook_that_was_not_told_yet_is_told(store: JobStore) -> None:
    (delivery,) = store.deliveries.claim(30.0, 10)
    assert delivery.job_id == JOBS["cancelled, not told yet"]
    assert store.deliveries.delivered(delivery)


def test_results_go_when_it_was_said_that_they_would(store: JobStore, clock: Clock) -> None:
    job = named("succeeded", store)
    clock.now = job.expires_at - 1
    store.retention.expire()
    assert named("succeeded", store).result == job.result
    clock.now = job.expires_at
    store.retention.expire()
    assert named("succeeded", store).result is None
    assert {image.key for image in job.result.images} <= set(store.retention.take().keys)


def test_what_was_swept_is_known_to_be_gone(store: JobStore, before: Rows) -> None:
    columns, found = before["swept"]
    job = named("queued", store)
    (lease,) = [lease for lease in store.claim("today", 30.0, 100) if lease.job.id == job.id]
    image = StoredImage(found[0][columns.index("key")], 1, 128, 96)
    with pytest.raises(ArtifactsSwept):
        store.image_done(Lease(lease.job, lease.owner, lease.fence, lease.attempt, 0), 0, image)


def test_what_a_team_took_today_still_counts(past: JobStore) -> None:
    quota = Quota(queued_jobs=20, images_per_day=500, gflop_per_day=1e6)
    assert {allowance.name: allowance.left for allowance in past.spent.left("atelier", quota)} == SAID["left"]


def test_locks_are_held_for_as_long_as_they_were_taken(store: JobStore, clock: Clock) -> None:
    assert not store.take_lock(READY, "today", 1.0)
    assert store.clusters.followed("session_2026-11-28_07-00-00_000000_1")
    clock.advance(3600)
    assert store.take_lock(READY, "today", 1.0)


def test_the_pace_of_a_sampler_is_known(past: JobStore) -> None:
    (pace,) = past.paces.current()
    assert (pace.fixed, pace.per_gflop, pace.gflop, pace.rows) == (0.02, 0.003, 40.0, 16)


async def test_new_jobs_get_the_model_that_0_1_served(engine: sa.Engine) -> None:
    with over(engine) as app:
        async with client(app, "member") as api:
            answer = await api.post("/v1/jobs", json={"prompt": "a brass washer"})
    assert answer.status_code == 202
    assert answer.json()["model"] == {"name": "controlnet-demo", "version": "3", "digest": "sha256:" + "ab" * 32}
