"""Any interleaving of clients, workers, deaths and the sweeper leaves the books in order.

Workers keep every lease they ever had and write with it at any later time; the clock jumps past leases. What must hold
is compared after every step with a model of a dozen lines. Sweepers, likewise, end what they took at any later time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from serve.jobs.database import soft
from serve.jobs.job import TERMINAL, Lease
from serve.jobs.retention import ArtifactsSwept, Deletion
from serve.jobs.schema import condemned, deliveries, events, holds, jobs, usage
from serve.jobs.store import JobResult, JobStore, LeaseLost, StoredImage
from serve.jobs.transitions import MOST_DEATHS

LEASE_S = 10.0
PROBLEM = {"type": "internal"}
WRITES = ("progress", "image", "succeed", "fail", "cancelled", "retry", "died")


class Books(RuleBasedStateMachine):
    """One database, any number of workers."""

    leases = Bundle("leases")
    ids = Bundle("ids")
    deletions = Bundle("deletions")

    store: JobStore
    engine: sa.Engine
    advance: Callable[[float], None]
    make: Callable[[JobStore, int], str]

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, tuple[str, float | None]] = {}
        self.held: dict[str, int] = {}  # the fence of the latest lease
        self.submitted = 0

    @rule(target=ids)
    def submit(self) -> object:
        try:
            job = self.make(self.store, self.submitted + 1)
        except ArtifactsSwept:
            return multiple()
        self.submitted += 1
        return job

    @rule(target=leases, owner=st.sampled_from("ab"), limit=st.integers(1, 3))
    def claim(self, owner: str, limit: int) -> object:
        leases = self.store.claim(owner, LEASE_S, limit)
        suspect = self.store.claim_suspect(owner, LEASE_S)
        leases += [] if suspect is None else [suspect]
        for lease in leases:
            assert lease.fence > self.held.get(lease.job.id, 0)
            self.held[lease.job.id] = lease.fence
        return multiple(*leases)

    @rule(seconds=st.sampled_from([1.0, LEASE_S, 3600.0]))
    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    @rule(lease=leases, write=st.sampled_from(WRITES))
    def write(self, lease: Lease, write: str) -> None:
        image = StoredImage(f"demo/{lease.job.id}.png", 7, 8, 8)
        calls: dict[str, Callable[[], object]] = {
            "progress": lambda: self.store.progress([(lease, {"step": lease.fence})]),
            "image": lambda: self.store.image_done(lease, 0, image),
            "succeed": lambda: self.store.succeed(lease, JobResult((image,))),
            "fail": lambda: self.store.fail(lease, PROBLEM),
            "cancelled": lambda: self.store.cancelled(lease),
            "retry": lambda: self.store.retry(lease, PROBLEM),
            "died": lambda: self.store.died(lease, "It died.", counts=lease.attempt > 1),
        }
        before = self.store.get(lease.job.id)
        current = before.state == "running" and self.held[lease.job.id] == lease.fence
        try:
            calls[write]()
        except LeaseLost:
            assert not current
            assert self.store.get(lease.job.id) == before
        except ArtifactsSwept:
            assert self.store.get(lease.job.id) == before
        else:
            assert current or (write == "progress" and self.store.get(lease.job.id) == before)

    @rule(leases=st.lists(leases, max_size=3))
    def give_back(self, leases: list[Lease]) -> None:
        before = {lease.job.id: self.store.get(lease.job.id) for lease in leases}
        held = {lease.job.id for lease in leases if self.held[lease.job.id] == lease.fence}
        self.store.give_back(leases, "It was stopped.")
        for job, was in before.items():
            if was.state == "running" and job in held:
                assert self.store.get(job).state == ("cancelled" if was.cancel_requested else "queued")
            else:
                assert self.store.get(job) == was

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        running = self.store.get(lease.job.id).state == "running"
        held = running and self.held[lease.job.id] == lease.fence
        assert self.store.renew([lease], LEASE_S) == ([] if held else [lease])

    @rule(job=ids)
    def cancel(self, job: str) -> None:
        self.store.request_cancel(job, "demo")

    @rule()
    def deliver(self) -> None:
        for delivery in self.store.deliveries.claim(LEASE_S, 2):
            assert self.store.get(delivery.job_id).terminal
            assert self.store.deliveries.delivered(delivery)

    @rule()
    def expire(self) -> None:
        self.store.retention.expire()

    @rule(target=deletions, limit=st.integers(1, 3))
    def take(self, limit: int) -> Deletion:
        return self.store.retention.take(limit)

    @rule(deletion=deletions, fails=st.booleans())
    def sweep(self, deletion: Deletion, fails: bool) -> None:
        """Of any sweeper, however long ago it took the keys."""
        keys = self.store.retention.taken(deletion)
        swept = self.store.retention.swept(deletion, () if fails else deletion.keys, deletion.keys if fails else ())
        assert swept == (0 if fails else len(keys))

    @invariant()
    def nothing_that_is_held_may_be_deleted(self) -> None:
        with self.engine.connect() as connection:
            assert (
                connection.scalars(sa.select(holds.c.key).join(condemned, condemned.c.key == holds.c.key)).all() == []
            )

    @invariant()
    def the_books_are_in_order(self) -> None:
        with self.engine.connect() as connection:
            rows = {row.id: row for row in connection.execute(sa.select(jobs))}
            ends = connection.scalars(sa.select(events.c.job_id).where(events.c.kind.in_(TERMINAL))).all()
            counted = connection.scalars(sa.select(usage.c.job_id)).all()
            told = connection.scalars(sa.select(deliveries.c.job_id)).all()
        terminal = {job for job, row in rows.items() if row.state in TERMINAL}
        assert len(rows) == self.submitted
        assert sorted(ends) == sorted(terminal)
        assert sorted(counted) == sorted(job for job in terminal if rows[job].state == "succeeded")
        assert sorted(told) == sorted(job for job in terminal if rows[job].webhook)
        for job, row in rows.items():
            assert row.failures < row.max_attempts
            assert row.deaths < MOST_DEATHS
            assert not row.deaths or row.suspect
            assert (row.lease_owner is not None) == (row.state == "running")
            assert (row.result is not None) == (row.state == "succeeded" and row.expired_at is None)
            if job in self.ended:
                assert self.ended[job] == (row.state, row.finished_at)
            elif job in terminal:
                self.ended[job] = (row.state, row.finished_at)


@pytest.fixture
def emptied(engine: sa.Engine) -> Callable[[], None]:
    def empty() -> None:
        with soft(engine).begin() as connection:
            for table in reversed(jobs.metadata.sorted_tables):
                connection.execute(sa.delete(table))

    return empty


def test_any_interleaving(engine, clock, spec, model, emptied):
    def make(store: JobStore, n: int) -> str:
        control = replace(spec.controls[0], images=(f"demo/{n % 2}.png",))
        wanted = replace(spec, controls=(control,))
        webhook = "https://example.test/hook" if n % 2 else None
        return store.submit("demo", wanted, model, webhook=webhook, mark=store.retention.mark()).id

    class OnThisDatabase(Books):
        def __init__(self) -> None:
            emptied()
            super().__init__()

    OnThisDatabase.store = JobStore(engine, clock, max_attempts=2, retention_s=1800)
    OnThisDatabase.engine = engine
    OnThisDatabase.advance = staticmethod(clock.advance)
    OnThisDatabase.make = staticmethod(make)
    run_state_machine_as_test(
        OnThisDatabase,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
