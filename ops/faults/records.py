"""What the platform has of a campaign: its rows, files, bills, read when everything has settled."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import httpx
import sqlalchemy as sa

from ops.faults.history import (
    DeliveryRecord,
    EventRecord,
    History,
    JobRecord,
    Submission,
    Sums,
    UsageRecord,
    WebhookCall,
)
from serve.deployments.chores import SWEEPER, SWEEPER_TTL
from serve.errors import NotFound
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.job import TERMINAL, JobResult
from serve.jobs.schema import condemned, deliveries, events, jobs, spent, usage
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore
from serve.jobs.sweep import condemn_orphans, sweep

FAR = 1e12  # epoch seconds after anything's age


def read(
    engine: sa.Engine,
    artifacts: ArtifactStore,
    submissions: Sequence[Submission],
    calls: Sequence[WebhookCall],
    billed: Mapping[str, Sums],
    deleted: Collection[str] = (),
    complete: bool = True,
    swept: bool = False,
) -> History:
    """The whole history: what clients and receivers wrote down, beside what the platform has.

    Files are read before rows: what expires in between is then in no row that names it.

    Args:
        engine: The platform's database.
        artifacts: Its pictures.
        submissions: Of all clients.
        calls: Of all receivers.
        billed: By team, see `bill`.
        deleted: Digests of versions that were deleted from the registry.
        complete: Whether every job is of these submissions.
        swept: Whether `tidy` went before.
    """
    files = asyncio.run(_files(artifacts))
    with engine.connect() as connection:
        rows = connection.execute(sa.select(jobs)).all()
        told = connection.execute(sa.select(events)).all()
        of_job = defaultdict(list)
        for event in told:
            of_job[event.job_id].append(event.data)
        used = connection.execute(sa.select(usage)).all()
        due = connection.execute(sa.select(deliveries)).all()
        days = connection.execute(
            sa.select(spent.c.tenant, sa.func.sum(spent.c.images), sa.func.sum(spent.c.gflop)).group_by(spent.c.tenant)
        ).all()
    return History(
        submissions=submissions,
        calls=calls,
        complete=complete,
        jobs=[_job(row, of_job[row.id]) for row in rows],
        events=[
            EventRecord(row.id, row.job_id, row.kind, row.data.get("attempt"), row.data.get("index")) for row in told
        ],
        usage=[UsageRecord(row.job_id, row.tenant, row.images, row.steps, row.gflop) for row in used],
        deliveries=[DeliveryRecord(row.id, row.job_id, row.tenant, row.state) for row in due],
        files=files,
        swept=swept,
        taken={team: Sums(images=int(images), gflop=float(gflop)) for team, images, gflop in days},
        billed=billed,
        deleted=frozenset(deleted),
    )


def unfinished(engine: sa.Engine) -> set[str]:
    """Ids of jobs that are under way."""
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(jobs.c.id).where(jobs.c.state.not_in(TERMINAL))))


def bill(url: str, keys: Mapping[str, str]) -> dict[str, Sums]:
    """What `GET /v1/usage` says to each team.

    Args:
        url: Of an API.
        keys: Of members, by team.
    """
    return {team: _billed(url, key) for team, key in keys.items()}


def tidy(engine: sa.Engine, artifacts: ArtifactStore) -> bool:
    """Delete what nobody needs, whatever its age and its last refusal, as the platform's sweeper would a day later.

    Returns:
        False where another has the sweeper's lock: nothing was deleted.
    """
    store = JobStore(engine)

    def mine() -> bool:
        return store.take_lock(SWEEPER, "campaign", SWEEPER_TTL)

    async def delete() -> None:
        await condemn_orphans(store.retention, artifacts, FAR)
        await sweep(store.retention, artifacts, mine)

    if not mine():
        return False
    with engine.begin() as connection:
        connection.execute(sa.update(condemned).values(at=0.0))
    asyncio.run(delete())
    store.take_lock(SWEEPER, "campaign", 0)
    return True


def _job(row: sa.Row[Any], told: Sequence[Mapping[str, Any]]) -> JobRecord:
    """A row, with all that it names itself, or by what its events told."""
    spec = JobSpec.from_json(row.spec)
    kept: frozenset[str] = frozenset()
    if row.expired_at is None:
        made = [said["image"] for said in told if "image" in said]
        made += [control_map for said in told for control_map in said.get("control_maps", ())]
        kept = spec.keys | {one["key"] for one in made}
        kept |= frozenset() if row.result is None else JobResult.from_json(row.result).keys
    problem = "" if row.error is None else f"{row.error.get('type')}: {row.error.get('detail')}"
    return JobRecord(
        id=row.id,
        team=row.tenant,
        state=row.state,
        key=row.idempotency_key,
        model=row.model_digest,
        images=len(spec.seeds),
        steps=spec.steps,
        gflop=row.gflop,
        attempt=row.attempt,
        failures=row.failures,
        deaths=row.deaths,
        problem=problem,
        files=kept,
        webhook=row.webhook is not None,
    )


async def _files(artifacts: ArtifactStore) -> dict[str, bool]:
    """By key, whether the bytes are those that the key says."""
    return {one.key: await _sound(artifacts, one.key) async for found in artifacts.list() for one in found}


async def _sound(artifacts: ArtifactStore, key: str) -> bool:
    try:
        await artifacts.get(key, key.partition("/")[0])
    except NotFound:
        return False
    return True


def _billed(url: str, key: str) -> Sums:
    answer = httpx.get(f"{url}/v1/usage", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    lines: Sequence[Mapping[str, Any]] = answer.raise_for_status().json()["usage"]
    return Sums(**{name: sum(line[name] for line in lines) for name in ("jobs", "images", "steps", "gflop")})
