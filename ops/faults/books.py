"""The audit: what was owed (the ledger), against rows, artifacts, usage and webhooks."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import sqlalchemy as sa

from ops.faults.ledger import Entry
from ops.faults.receiver import Receiver
from ops.faults.rig import Rig
from serve.client import Client
from serve.errors import ServeError
from serve.jobs.schema import deliveries, events, jobs, spent, usage

SETTLED_WITHIN_S = 180.0
TERMINAL = ("succeeded", "failed", "cancelled")


@dataclass(slots=True)
class Audit:
    """What the books say at the end.

    Attributes:
        accepted: Jobs that a client was told were accepted.
        done: Those that succeeded.
        failed: Those that failed or were cancelled, with the reason.
        lost: Accepted jobs without an end, without a row, or whose picture can't be fetched.
        doubled: What happened twice: two jobs of one key, two ends, two usage rows, two webhooks, two pictures.
        unpaid: Sums that an invoice or a quota would stand on and that do not add up.
        attempts: Starts of all accepted jobs together; above `accepted` by what kills made again.
        repeats: Calls of webhooks that a receiver could tell for repeats; allowed.
    """

    accepted: int = 0
    done: int = 0
    failed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unpaid: list[str] = field(default_factory=list)
    attempts: int = 0
    repeats: int = 0

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing doubled, nothing failed, and the bill is right."""
        return not (self.failed or self.lost or self.doubled or self.unpaid)


def audit(rig: Rig, entries: Sequence[Entry], receiver: Receiver) -> Audit:
    """Wait until everything has settled, and compare."""
    _settle(rig, entries, receiver)
    found = Audit(accepted=len(entries))
    accepted = {entry.job_id for entry in entries}
    with rig.reads.connect() as connection:
        rows = {row.id: row for row in connection.execute(sa.select(jobs))}
        ends = Counter(connection.scalars(sa.select(events.c.job_id).where(events.c.kind.in_(TERMINAL))))
        used = Counter(connection.scalars(sa.select(usage.c.job_id)))
        told = Counter(connection.scalars(sa.select(deliveries.c.job_id)))
    pictures: defaultdict[str, set[str]] = defaultdict(set)
    with Client(rig.url, rig.key) as client:
        for entry in entries:
            row = rows.get(entry.job_id)
            if row is None or row.state not in TERMINAL:
                found.lost.append(f"{entry.job_id}: {'no row' if row is None else row.state}")
                continue
            found.attempts += row.attempt
            if row.state != "succeeded":
                found.failed.append(f"{entry.job_id}: {row.state} {row.error}")
                continue
            found.done += 1
            try:
                pictures[f"{entry.same}, {row.model_digest[:19]}"].add(
                    hashlib.sha256(b"".join(client.images(entry.job_id))).hexdigest()
                )
            except ServeError as error:
                found.lost.append(f"{entry.job_id}: its picture: {error}")
            if used[entry.job_id] != 1:
                found.doubled.append(f"{entry.job_id}: {used[entry.job_id]} usage rows")
    for job_id in accepted & rows.keys():
        for what, count in (("ends", ends[job_id]), ("deliveries", told[job_id]), ("webhooks", _ids(receiver, job_id))):
            if count > 1:
                found.doubled.append(f"{job_id}: {count} {what}")
            elif count == 0:
                found.lost.append(f"{job_id}: no {what}")
    keys = Counter(row.idempotency_key for row in rows.values())
    found.doubled += [f"key {key}: {count} jobs" for key, count in keys.items() if count > 1]
    found.doubled += [f"{same}: {len(kinds)} different pictures" for same, kinds in pictures.items() if len(kinds) > 1]
    found.unpaid = list(_unpaid(rig, list(rows.values())))
    found.repeats = sum(count - 1 for count in receiver.calls.values())
    return found


def _unpaid(rig: Rig, rows: Sequence[sa.Row[Any]]) -> Iterator[str]:
    """The sums of `GET /v1/usage`, and what the quota has counted, against the jobs themselves."""
    done = [row for row in rows if row.state == "succeeded"]
    owed = {
        "jobs": len(done),
        "images": sum(len(row.spec["seeds"]) for row in done),
        "steps": sum(len(row.spec["seeds"]) * row.spec["steps"] for row in done),
        "gflop": sum(row.gflop for row in done),
    }
    answer = httpx.get(f"{rig.url}/v1/usage", headers={"Authorization": f"Bearer {rig.key}"}, timeout=30)
    billed = answer.raise_for_status().json()["usage"]
    for name, amount in owed.items():
        total = sum(line[name] for line in billed)
        if not math.isclose(total, amount, rel_tol=1e-9):
            yield f"usage: {total} {name} instead of {amount}"
    with rig.reads.connect() as connection:
        counted = connection.execute(sa.select(sa.func.sum(spent.c.images), sa.func.sum(spent.c.gflop))).one()
    kept = [row for row in rows if row.state == "succeeded" or (row.state == "cancelled" and row.attempt)]
    taken = sum(len(row.spec["seeds"]) for row in kept), sum(row.gflop for row in kept)
    if any(not math.isclose(a, b, rel_tol=1e-9) for a, b in zip(counted, taken, strict=True)):
        yield f"quota: {tuple(counted)} images and GFLOP instead of {taken}"


def _ids(receiver: Receiver, job_id: str) -> int:
    return len(receiver.ids.get(job_id, ()))


def _settle(rig: Rig, entries: Sequence[Entry], receiver: Receiver) -> None:
    """Until all jobs have ended and all webhooks have come; what takes too long is for the audit to tell."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        with rig.reads.connect() as connection:
            open_jobs = connection.scalar(sa.select(sa.func.count()).where(jobs.c.state.not_in(TERMINAL)))
        if not open_jobs and all(_ids(receiver, entry.job_id) for entry in entries):
            return
        time.sleep(0.1)
