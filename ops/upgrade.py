"""How long tables that have grown take to be brought up, and keep requests waiting: `python -m ops.upgrade`.

Tables as 0.1 had them, with jobs of the size of users' (made by SQL), on SQLite and on a PostgreSQL of one's own that
does not wait for the disk. Each version is timed alone; then all at once, as by a program that starts on them, while a
reader and a writer of `jobs` ask every few milliseconds.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from ops.services import Missing, Postgres
from serve.jobs.database import StoreUnavailable, durable, open_database
from serve.jobs.job import JobResult, StoredImage, StoredMap
from serve.jobs.migrations import downgrade, head, upgrade, versions
from serve.jobs.spec import ControlSpec, JobSpec

OLD = "3"
"""Version of the tables that 0.1 made."""

ASK_EVERY_S = 0.005

_KEY = "team-1/{}" + 64 * "a" + ".png"
_CANNY = ControlSpec("canny", "canny", (_KEY.format("in/"),), {"low_threshold": 100.0, "high_threshold": 200.0})
_SPEC = JobSpec(
    prompt="a brass gear on a blue bench, studio light, sharp focus, brushed metal, shallow depth of field",
    negative_prompt="blurry, low contrast, text, watermark",
    seeds=(1, 2),
    steps=20,
    guidance=7.5,
    width=512,
    height=512,
    controls=(_CANNY,),
)
_RESULT = JobResult(
    images=tuple(StoredImage(_KEY.format(seed), seed, 512, 512) for seed in _SPEC.seeds),
    control_maps=(StoredMap(_KEY.format("map/"), "canny", 0),),
    timings={"queued": 0.51, "imaging": 0.12, "sampling": 4.25, "encoding": 0.21, "total": 5.09},
)
_MANY = "WITH RECURSIVE many(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM many WHERE i < :rows)"
_ID = f"'job_' || (100000000000 + i) || '{20 * 'b'}'"
_FILL = (
    f"""INSERT INTO jobs (id, tenant, state, spec, model_name, model_version, model_digest, attempt, max_attempts,
    fence, cancel_requested, result, created_at, started_at, finished_at, expires_at, rows, gflop)
    {_MANY} SELECT {_ID}, 'team-' || (i % 20), CASE WHEN i % 500 = 0 THEN 'queued' ELSE 'succeeded' END,
    CAST(:spec AS {{json}}), 'controlnet-demo', '3', 'sha256:{64 * "c"}', 1, 3, 1, false,
    CAST(CASE WHEN i % 500 > 0 THEN :result END AS {{json}}), 1795000000.0 + i, 1795000001.0 + i, 1795000006.0 + i,
    1795604806.0 + i, 4, 1500.0 FROM many""",
    f"""INSERT INTO usage (job_id, tenant, model, images, steps, pixels, gpu_seconds, at, day, gflop)
    {_MANY} SELECT {_ID}, 'team-' || (i % 20), 'controlnet-demo', 2, 40, 524288, 4.25, 1795000006.0 + i, '2026-11-18',
    1500.0 FROM many""",
    f"""INSERT INTO deliveries (id, job_id, tenant, url, state, attempt, created_at, finished_at)
    {_MANY} SELECT 'msg_' || i, {_ID}, 'team-' || (i % 20), 'https://example.test/hook', 'delivered', 1,
    1795000006.0 + i, 1795000007.0 + i FROM many WHERE i % 10 = 0""",
    f"""INSERT INTO idempotency (tenant, key, fingerprint, token, job_id, expires_at)
    {_MANY} SELECT 'team-' || (i % 20), 'key-' || i, '{64 * "d"}', '{32 * "e"}', {_ID}, 1795086406.0 + i
    FROM many WHERE i % 10 = 0""",
)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What bringing the tables up took, in seconds.

    Attributes:
        versions: Of each version alone.
        all: Of all in one transaction.
        read: The longest that a reader of `jobs` waited meanwhile.
        write: And a writer.
    """

    versions: dict[str, float]
    all: float
    read: float
    write: float


def measure(url: str, rows: int) -> Upgrade:
    """Fill an empty database with so many jobs, and bring its tables up.

    Args:
        url: SQLAlchemy's; what is there is lost.
        rows: Of `jobs` and `usage`; a tenth as many deliveries and idempotency keys.
    """
    engine = open_database(url)
    downgrade(durable(engine), OLD)
    with durable(engine).begin() as connection:
        server = engine.dialect.name == "postgresql"
        if server:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        texts = {"spec": json.dumps(_SPEC.to_json()), "result": json.dumps(_RESULT.to_json()), "rows": rows}
        for statement in _FILL:
            text = statement.format(json="json" if server else "text")
            connection.execute(sa.text(text), {name: texts[name] for name in texts if f":{name}" in text})
    each = {}
    for version in versions()[versions().index(OLD) + 1 :]:
        began = time.perf_counter()
        upgrade(engine, durable(engine), version)
        each[version] = time.perf_counter() - began
    downgrade(durable(engine), OLD)
    look, mark = sa.text("SELECT state FROM jobs LIMIT 1"), sa.text("UPDATE jobs SET fence = fence WHERE id = ''")
    with _asking(engine, look) as read, _asking(durable(engine), mark) as write:
        began = time.perf_counter()
        upgrade(engine, durable(engine))
        seconds = time.perf_counter() - began
    engine.dispose()
    return Upgrade(each, seconds, max(read), max(write))


@contextmanager
def _asking(engine: sa.Engine, statement: sa.TextClause) -> Iterator[list[float]]:
    """Ask again and again in a thread; how long each answer took, in seconds, also where it took several tries."""
    over, seconds = threading.Event(), [0.0]

    def ask() -> None:
        while not over.wait(ASK_EVERY_S):
            began = time.perf_counter()
            while True:
                try:
                    with engine.begin() as connection:
                        connection.execute(statement)
                    break
                except StoreUnavailable:
                    pass
            seconds.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def main(rows: Annotated[int, typer.Option(min=1, help="Of jobs.")] = 200_000) -> None:
    """Measure it on both databases; PostgreSQL only where it is installed."""
    with tempfile.TemporaryDirectory(prefix="cn-upgrade-") as folder:
        _print("SQLite", measure(f"sqlite:///{Path(folder) / 'jobs.db'}", rows))
    try:
        with Postgres() as server:
            _print("PostgreSQL", measure(server.url(), rows))
    except Missing as missing:
        print(missing)


def _print(name: str, found: Upgrade) -> None:
    alone = ", ".join(f"{version}: {seconds:.2f} s" for version, seconds in found.versions.items())
    print(f"{name}, {OLD} to {head()}: {found.all:.2f} s; reads waited {found.read:.2f} s, writes {found.write:.2f} s")
    print(f"  alone {alone}")


if __name__ == "__main__":
    typer.run(main)
