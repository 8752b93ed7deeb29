"""The databases of a release: jobs in every state, and rows in every table, made by the release's own program.

    git worktree add /tmp/0.1 7cb3f87
    PYTHONPATH=/tmp/0.1 python tests/compat/databases/fill.py tests/compat/databases

Writes `0.1.sqlite.sql`, `0.1.postgresql.sql` (it needs Debian's `postgresql`), and `0.1.json`: what 0.1 answers to
requests about them. Clock and randomness are fixed, so that every run writes the same. Nothing in the files is secret:
the keys' secrets are known bytes, and no such key is used anywhere else.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import sqlalchemy as sa
from obstore.store import MemoryStore
from prometheus_client import CollectorRegistry

import controlnet
from controlnet.bundle import Manifest
from ops.services import Postgres
from serve.api.app import create_app
from serve.api.schemas import EXAMPLE
from serve.config import Settings
from serve.errors import InvalidRequest, JobFailed, QuotaExceeded
from serve.jobs.artifacts import ArtifactStore, key_of
from serve.jobs.cost import cost
from serve.jobs.database import open_database
from serve.jobs.job import Lease
from serve.jobs.pace import Pace
from serve.jobs.quotas import Quota
from serve.jobs.signals import open_signals
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import READY, JobResult, JobStore, ServedModel, StoredImage, StoredMap
from serve.telemetry import ApiMetrics
from serve.tenancy.keys import Keys
from serve.tenancy.tenancy import Tenancy
from serve.tenancy.tenants import Limits, Tenant

START = datetime(2026, 11, 28, 8, tzinfo=UTC).timestamp()
HOOK = "https://hooks.example.com/done"
QUOTA = Quota(queued_jobs=20, images_per_day=500, gflop_per_day=1e6)
REQUESTS = {
    "replayed": {"prompt": "a brass gear", "n": 2, "seed": 7, "steps": 12, "width": 128, "height": 128},
    "replayed with a picture": {
        "prompt": "a steel plate",
        "seed": 9,
        "resolution": 128,
        "controls": [{"type": "canny", "image": EXAMPLE, "parameters": {"low_threshold": 50}, "strength": 0.75}],
        "priority": "batch",
    },
}


class Clock:
    """Epoch seconds that only `advance` moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Filler:
    """One database, filled.

    Attributes:
        jobs: Ids by what happened to the job.
        keys: What is known of each key: the byte that its id and secret repeat, and whether it opens anything.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.clock = Clock()
        self.store = JobStore(engine, self.clock)
        self.settings = Settings(_env_file=None)
        self.tenancy = Tenancy.over(engine, self.settings, self.clock)
        self.manifest = Manifest.model_validate_json(
            (Path(controlnet.__file__).parent / "demo/bundle.json").read_text()
        )
        self.model = ServedModel(
            "controlnet-demo", "3", "sha256:" + "ab" * 32, self.manifest.model_dump(mode="json"), "models:/x/3"
        )
        self.jobs: dict[str, str] = {}
        self.keys: dict[str, dict[str, Any]] = {}

    def fill(self) -> None:
        """All of it, in the order in which it can happen: what takes long first, what waits last."""
        self._teams()
        self._ended()
        self._swept()
        self._running()
        self._waiting()
        asyncio.run(self._requested())
        self.store.paces.keep({"sampler-1": Pace(0.02, 0.003, 40.0, 16)})
        assert self.store.take_lock(READY, "dispatcher-1", 3600.0)
        self.store.clusters.show("session_2026-11-28_07-59-00_000000_1", 3600.0)
        self.store.rates.take("demo", 60)

    def _teams(self) -> None:
        limits = Limits(
            requests_per_minute=600,
            queued_jobs=20,
            images_per_day=500,
            gflop_per_day=1e6,
            max_pixels=1 << 20,
            max_steps=50,
            max_images=8,
            retention_days=7,
            models=("controlnet-demo",),
        )
        teams = [Tenant("demo"), Tenant("atelier", 2.0, limits), Tenant("former")]
        self.tenancy.tenants.apply(teams, "cnserve up")
        for name, tenant, role in (
            ("admin", "demo", "admin"),
            ("member", "demo", "member"),
            ("viewer", "demo", "viewer"),
            ("expired", "demo", "member"),
            ("revoked", "demo", "member"),
            ("rotated", "demo", "member"),
            ("atelier", "atelier", "admin"),
            ("of a team that is gone", "former", "member"),
        ):
            self._key(
                name,
                lambda keys, t=tenant, r=role, n=name: keys.create(
                    t, r, n, "shell:root", expires_in_s={"expired": 60.0, "member": 1e8}.get(n)
                ),
            )
        admin = self.tenancy.keys.list("demo")[0]
        actor = f"key:{admin.id}"
        found = {key.name: key.id for key in self.tenancy.keys.list("demo")}
        self.tenancy.keys.revoke("demo", found["revoked"], actor)
        self._key("rotated into", lambda keys: keys.rotate("demo", found["rotated"], actor, grace_s=30 * 24 * 3600.0))
        self.clock.advance(100)
        self.tenancy.tenants.apply([teams[0], Tenant("atelier", 3.0, limits)], "cnserve up", prune=True)
        for name in ("expired", "revoked", "of a team that is gone"):
            self.keys[name]["opens"] = False
        self.store.set_serving(ServedModel("older", "1", "sha256:" + "cd" * 32, self.model.manifest, "models:/older/1"))
        self.clock.advance(1)
        self.store.set_serving(self.model)

    def _key(self, name: str, make: Callable[[Keys], Any]) -> None:
        byte = len(self.keys) + 1
        made = make(Keys(self.engine, self.clock, lambda size: bytes([byte]) * size))
        self.keys[name] = {"byte": byte, "tenant": made.key.tenant, "role": made.key.role, "opens": True}

    def spec(self, number: int, tenant: str, n: int = 2, controls: bool = True) -> JobSpec:
        """Of the job of a number, all of whose inputs are its own."""
        control = ControlSpec(
            "canny",
            "canny",
            (self.artifact(tenant, number, "in"),),
            {"low_threshold": 60.0, "high_threshold": 140.5},
            0.75,
            0.1,
            0.9,
            "guess",
        )
        seeds = tuple(range(number, number + n))
        steps, guidance = (12, 5.5) if n else (0, 1.0)
        used = (control,) if controls else ()
        return JobSpec(f"part {number}: äöü ☃", "blurry", seeds, steps, guidance, 128, 96, "dpmpp_2m", controls=used)

    @staticmethod
    def artifact(tenant: str, number: int, what: str) -> str:
        """Key of bytes that are nowhere."""
        return key_of(tenant, random.Random(f"{number} {what}").randbytes(32).hex(), ".png")

    def submit(self, name: str, tenant: str = "demo", n: int = 2, controls: bool = True, **how: Any) -> None:
        """A job, a second after the one before."""
        self.clock.advance(1)
        spec = self.spec(100 * (len(self.jobs) + 1), tenant, n, controls)
        price = cost(spec, self.manifest.architecture)
        self.jobs[name] = self.store.submit(tenant, spec, self.model, cost=price, **how).id

    def start(self, name: str, **how: Any) -> Lease:
        """A job that runs."""
        self.submit(name, **how)
        return self.again(name)

    def again(self, name: str, lease_s: float = 30.0) -> Lease:
        """Another attempt."""
        self.clock.advance(0.25)
        (lease,) = self.store.claim("dispatcher-1", lease_s, 1)
        assert lease.job.id == self.jobs[name], name
        return lease

    def result(self, lease: Lease) -> JobResult:
        """What a job would have made."""
        spec, tenant = lease.job.spec, lease.job.tenant
        images = tuple(
            StoredImage(self.artifact(tenant, seed, "image"), seed, spec.width, spec.height) for seed in spec.seeds
        )
        maps = tuple(
            StoredMap(self.artifact(tenant, spec.seeds[0] if spec.seeds else 0, "map"), c.type, 0)
            for c in spec.controls
        )
        return JobResult(images, maps, {"queued": 0.25, "annotating": 0.125, "sampling": 1.5, "decoding": 0.0625})

    def succeed(self, lease: Lease) -> None:
        """End a job with all its events."""
        result = self.result(lease)
        self.clock.advance(1)
        if result.control_maps:
            self.store.annotated(lease, result.control_maps)
        for index, image in enumerate(result.images[:1]):
            self.store.image_done(lease, index, image)
        self.clock.advance(1)
        self.store.succeed(lease, result, untold=range(1, len(result.images)))

    def _ended(self) -> None:
        store, clock = self.store, self.clock
        reservation = store.idempotency.reserve("demo", "named-1", "0" * 64)
        assert not isinstance(reservation, str)
        self.succeed(
            self.start("succeeded", webhook=HOOK, reservation=reservation, trace=f"00-{'a' * 32}-{'b' * 16}-01")
        )
        (delivery,) = store.deliveries.claim(30.0, 10)
        assert store.deliveries.failed(delivery, "503 Service Unavailable", clock() + 5)
        clock.advance(6)
        (delivery,) = store.deliveries.claim(30.0, 10)
        assert store.deliveries.delivered(delivery)

        store.fail(
            self.start("failed", webhook=HOOK), InvalidRequest("No picture.", field="controls.0.image").problem()
        )
        for _ in range(12):
            (delivery,) = store.deliveries.claim(30.0, 10)
            assert store.deliveries.failed(delivery, "no route to host", clock() + 5)
            clock.advance(6)

        self.succeed(self.start("succeeded and expired", retention_s=60.0))
        self.start("set aside after silence")
        for _ in range(2):
            clock.advance(31)
            self.again("set aside after silence")
        clock.advance(31)
        assert store.claim("dispatcher-1", 30.0, 1) == []

        lease = self.start("succeeded at its second try")
        assert store.retry(lease, JobFailed("The worker was lost.").problem()) == "queued"
        self.succeed(self.again("succeeded at its second try"))
        lease = self.start("set aside after failures")
        for _ in range(2):
            assert store.retry(lease, JobFailed("Out of memory.").problem()) == "queued"
            lease = self.again("set aside after failures")
        assert store.retry(lease, JobFailed("Out of memory.").problem()) == "failed"

        self.submit("late", deadline_s=5.0)
        clock.advance(6)
        store.end_late()
        self.submit("cancelled while it waited")
        store.request_cancel(self.jobs["cancelled while it waited"], "demo")
        lease = self.start("cancelled while it ran")
        store.request_cancel(self.jobs["cancelled while it ran"], "demo")
        assert store.cancel_requests("dispatcher-1") == [lease.job.id]
        store.cancelled(lease)
        self.succeed(self.start("succeeded map", n=0))
        self.succeed(self.start("succeeded without controls", controls=False, priority="batch"))
        self.succeed(self.start("succeeded of another team", tenant="atelier", quota=QUOTA, retention_s=7 * 86400.0))
        self.submit("cancelled, not told yet", webhook=HOOK)
        store.request_cancel(self.jobs["cancelled, not told yet"], "demo")

    def _swept(self) -> None:
        assert self.store.retention.expire() == 1
        keys = self.store.retention.condemned(100)
        self.store.retention.swept(keys[:2])
        assert self.store.retention.condemned(100)

    def _running(self) -> None:
        lease = self.start("running", webhook=HOOK, deadline_s=7 * 24 * 3600.0)
        result = self.result(lease)
        self.store.annotated(lease, result.control_maps)
        self.store.image_done(lease, 0, result.images[0])
        self.store.progress([(lease, {"steps": [12, 5], "of": 12})])
        self.start("running, to be cancelled")
        self.store.request_cancel(self.jobs["running, to be cancelled"], "demo")
        self.start("running map", n=0)
        lease = self.start("queued again")
        assert self.store.retry(lease, JobFailed("The worker was lost.").problem()) == "queued"

    def _waiting(self) -> None:
        self.submit("queued")
        self.submit("queued batch", priority="batch", deadline_s=7 * 24 * 3600.0, webhook=HOOK)
        self.submit("queued map", n=0)
        self.submit("queued of another team", tenant="atelier", quota=QUOTA)
        with suppress(QuotaExceeded):
            self.submit("refused", tenant="atelier", quota=Quota(queued_jobs=1))
        assert "refused" not in self.jobs
        reservation = self.store.idempotency.reserve("demo", "being-accepted", "1" * 64)
        assert not isinstance(reservation, str)

    async def _requested(self) -> None:
        """Jobs that came over HTTP, under keys."""
        async with self.client("member") as client:
            for number, (name, body) in enumerate(REQUESTS.items()):
                self.clock.advance(1)
                headers = {"Idempotency-Key": f"replay-{number}"}
                answer = await client.post("/v1/jobs", json=body, headers=headers)
                assert answer.status_code == 202, answer.text
                self.jobs[name] = answer.json()["id"]

    def client(self, key: str) -> httpx.AsyncClient:
        """The api over this database, as the holder of a key."""
        app = create_app(
            self.settings,
            self.store,
            self.tenancy,
            ArtifactStore(MemoryStore()),
            open_signals(self.engine),
            ApiMetrics(CollectorRegistry()),
            clock=self.clock,
            random_seed=lambda: 4_000_000_000,
        )
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {text_of(self.keys[key]['byte'])}"},
        )

    async def shown(self) -> dict[str, dict[str, Any]]:
        """What the api answers, by the key that asks and the path."""
        found: dict[str, dict[str, Any]] = {}
        for key in ("admin", "atelier"):
            async with self.client(key) as client:
                paths = ["/v1/keys", "/v1/audit?limit=200", "/v1/usage", "/v1/models"]
                listed = (await client.get("/v1/jobs?limit=200")).json()["jobs"]
                paths += [f"/v1/jobs/{job['id']}" for job in listed]
                found[key] = {path: (await client.get(path)).raise_for_status().json() for path in paths}
                found[key]["jobs"] = [[job["id"], job["state"]] for job in listed]
                ended = [job["id"] for job in listed if job["finished_at"] is not None]
                for job_id in ended:
                    found[key][f"/v1/jobs/{job_id}/events"] = messages(
                        (await client.get(f"/v1/jobs/{job_id}/events")).text
                    )
        return found


def text_of(byte: int) -> str:
    """The text of the key whose id and secret repeat a byte."""
    key_id, secret = (base64.b32encode(bytes([byte]) * size).decode().rstrip("=").lower() for size in (10, 32))
    return f"cn_{key_id[:10]}_{secret}"


def messages(stream: str) -> list[list[Any]]:
    """The events of a stream that ended: id, kind, data."""
    found = []
    for block in stream.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append([fields.get("id"), fields["event"], json.loads(fields["data"])])
    return found


@contextmanager
def fixed() -> Iterator[None]:
    """Random ids that are the same in every run."""
    dice = random.Random(1)
    with patch("secrets.token_hex", lambda size: dice.randbytes(size).hex()):
        yield


def said_by(url: str) -> dict[str, Any]:
    """Fill the database at `url`, and tell what 0.1 says of it."""
    engine = open_database(url)
    with fixed():
        filler = Filler(engine)
        filler.fill()
        shown = asyncio.run(filler.shown())
    left = {a.name: a.left for a in filler.store.spent.left("atelier", QUOTA)}
    engine.dispose()
    return {
        "at": filler.clock(),
        "jobs": filler.jobs,
        "keys": filler.keys,
        "left": left,
        "requests": REQUESTS,
        "shown": shown,
    }


def dump_sqlite(file: Path) -> str:
    """A file as SQL."""
    connection = sqlite3.connect(file)
    lines = "\n".join(connection.iterdump()) + "\n"
    connection.close()
    return lines


def dump_postgres(server: Postgres) -> str:
    """A database as SQL that any version of PostgreSQL takes through any client: without settings and psql's words."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), key=lambda path: int(path.parts[-3]))
    how = ["--inserts", "--no-owner", "--no-privileges", f"--host={server.folder}", "--username=postgres", "postgres"]
    text = subprocess.run([programs[-1], *how], check=True, capture_output=True, text=True).stdout
    kept = [
        line
        for line in text.splitlines()
        if line and not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_c"))
    ]
    return "\n".join(kept) + "\n"


def main(folder: Path) -> None:
    """Write the files."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "jobs.db"
        said = said_by(f"sqlite:///{file}")
        (folder / "0.1.sqlite.sql").write_text(dump_sqlite(file))
    with Postgres() as server:
        other = said_by(server.url())
        (folder / "0.1.postgresql.sql").write_text(dump_postgres(server))
    assert json.loads(json.dumps(said)) == json.loads(json.dumps(other)), "the databases differ"
    (folder / "0.1.json").write_text(json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
