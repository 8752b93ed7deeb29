"""Many workers on one database: no job twice, none lost, whatever dies."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import serve
from serve.jobs import database
from serve.jobs.cost import Cost
from serve.jobs.job import TERMINAL
from serve.jobs.schema import deliveries, events, usage
from serve.jobs.store import JobResult, JobStore, Lease, LeaseLost, StoredImage

RESULT = JobResult((StoredImage("demo/aa/b.png", 7, 256, 192),))
URL = "https://example.test/hook"


def worker(database_url: str, owner: str, lease_s: float, lives: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(serve.__file__).parents[1])}
    command = [sys.executable, Path(__file__).with_name("claimer.py"), database_url, owner, str(lease_s), str(lives)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def claim_until_none_is_left(store, owner, taken):
    while leases := store.claim(owner, 600, 3):
        for lease in leases:
            taken.append(lease.job.id)
            store.succeed(lease, RESULT)


def check_the_books(store, engine, jobs):
    """Each job has one end, one usage row if it succeeded, one delivery."""
    with engine.connect() as connection:
        ends = connection.scalars(sa.select(events.c.job_id).where(events.c.kind.in_(TERMINAL))).all()
        counted = connection.scalars(sa.select(usage.c.job_id)).all()
        told = connection.scalars(sa.select(deliveries.c.job_id)).all()
    succeeded = {job for job in jobs if store.get(job).state == "succeeded"}
    assert sorted(ends) == sorted(jobs)
    assert sorted(counted) == sorted(succeeded)
    assert sorted(told) == sorted(jobs)


def test_many_jobs_of_many_teams_are_all_accounted_for(store, engine, spec, model):
    price = Cost(rows=2, gflop=3.0, steps=20, step_gflop=0.1)
    jobs = {store.submit(f"team-{number % 8}", spec, model, cost=price, webhook=URL).id for number in range(8 * 100)}
    taken: list[str] = []

    def work(owner: str) -> None:
        while leases := store.claim(owner, 600, 18):
            for lease in leases:
                taken.append(lease.job.id)
                store.succeed(lease, RESULT)

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(jobs)
    check_the_books(store, engine, jobs)
    used = [store.usage.between(f"team-{number}", 0, 1e10) for number in range(8)]
    assert [(total.jobs, total.gflop) for (total,) in used] == [(100, 300.0)] * 8


def test_threads_share_the_work_without_losing_or_doubling_any(store, submit, engine):
    jobs = {submit(webhook=URL).id for _ in range(60)}
    taken: list[str] = []
    threads = [threading.Thread(target=claim_until_none_is_left, args=(store, str(n), taken)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(jobs)
    assert set(taken) == jobs
    assert store.counts()["succeeded"] == 60
    assert all(store.get(job).attempt == 1 for job in jobs)
    check_the_books(store, engine, jobs)


def test_processes_share_the_work_without_losing_or_doubling_any(store, submit, database_url, engine):
    jobs = {submit(webhook=URL).id for _ in range(40)}
    workers = [worker(database_url, name, 600, -1) for name in "ab"]
    taken = [line for process in workers for line in process.communicate()[0].split()]
    assert [process.returncode for process in workers] == [0, 0]
    assert len(taken) == len(jobs)
    assert set(taken) == jobs
    check_the_books(store, engine, jobs)


def test_processes_that_are_killed_lose_and_double_nothing(engine, spec, model, database_url):
    store = JobStore(engine, max_attempts=100)
    jobs = {store.submit("demo", spec, model, webhook=URL).id for _ in range(30)}
    mortal = [worker(database_url, f"mortal-{lives}", 0.5, lives) for lives in (1, 4, 9)]
    taken = [line for process in mortal for line in process.communicate()[0].split()]
    assert {process.returncode for process in mortal} <= {-9, 0}
    assert -9 in {process.returncode for process in mortal}
    heir = worker(database_url, "heir", 600, -1)
    taken += heir.communicate()[0].split()
    assert heir.returncode == 0
    assert len(taken) == len(set(taken))
    assert set(taken) <= jobs
    assert store.counts()["succeeded"] == len(jobs)
    check_the_books(store, engine, jobs)


def test_workers_that_lose_their_leases_all_the_time_write_only_under_their_own(store, engine, spec, model):
    """Leases that are over at once: each worker is always being robbed by the others, and by clients that cancel."""
    store = JobStore(engine, max_attempts=1000)
    jobs = [store.submit("demo", spec, model, webhook=URL).id for _ in range(12)]
    ended: list[str] = []
    failures: list[BaseException] = []

    def work(owner: str, chance: random.Random) -> None:
        writes = (
            lambda lease: store.progress([(lease, {"by": owner})]),
            lambda lease: store.renew([lease], 0),
            lambda lease: store.retry(lease, {"type": "internal"}),
            lambda lease: store.image_done(lease, 0, RESULT.images[0]),
            lambda lease: store.request_cancel(lease.job.id, "demo"),
        )
        try:
            while (counts := store.counts())["queued"] + counts["running"]:
                for lease in store.claim(owner, 0, 2):
                    try:
                        chance.choice(writes)(lease)
                        if chance.random() < 0.5:
                            store.succeed(lease, RESULT)
                            ended.append(lease.job.id)
                    except LeaseLost:
                        continue
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(n), random.Random(n))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    succeeded = {job for job in jobs if store.get(job).state == "succeeded"}
    assert sorted(ended) == sorted(succeeded)
    check_the_books(store, engine, jobs)


@pytest.mark.parametrize("rounds", [40])
def test_a_stop_that_is_asked_while_a_worker_gives_the_job_back_is_not_lost(store, submit, rounds):
    """Whichever comes first, the job is cancelled by the time somebody claims again, or is flagged for them."""
    for _ in range(rounds):
        job = submit()
        (lease,) = store.claim("a", 600, 1)
        barrier = threading.Barrier(2)

        def give_back(lease=lease, barrier=barrier) -> None:
            barrier.wait()
            store.retry(lease, {"type": "internal"})

        thread = threading.Thread(target=give_back)
        thread.start()
        barrier.wait()
        asked = store.request_cancel(job.id, "demo")
        thread.join()
        assert asked.state == "cancelled" or asked.cancel_requested
        assert store.get(job.id).state == "cancelled"


def test_cancels_renewals_and_deadlines_do_not_wait_in_a_circle(store, spec, model, monkeypatch):
    """Each transaction is tried once: a deadlock of PostgreSQL would be told."""
    monkeypatch.setattr(database, "VICTIM_TRIES", 1)
    leases = []
    for _ in range(12):
        store.submit("runs", spec, model)
    leases = store.claim("a", 600, 100)
    late = [store.submit(f"team-{number % 2}", spec, model, deadline_s=-1.0).id for number in range(40)]
    failures: list[Exception] = []

    def cancel(jobs: list[str]) -> None:
        for job in jobs:
            for team in ("team-0", "team-1"):
                store.request_cancel(job, team)

    def end() -> None:
        while store.counts()["queued"]:
            store.end_late()

    def renew(held: list[Lease]) -> None:
        for step in range(10):
            store.renew(held, 600)
            store.progress([(lease, {"step": step}) for lease in held])

    def watched(work: Callable[..., None], *arguments: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except Exception as error:
                failures.append(error)

        return threading.Thread(target=run)

    threads = [
        *(watched(cancel, jobs) for jobs in (late, late[::-1])),
        *(watched(renew, held) for held in (leases, leases[::-1])),
        *(watched(end) for _ in range(2)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {store.get(job).state for job in late} <= {"cancelled", "failed"}
