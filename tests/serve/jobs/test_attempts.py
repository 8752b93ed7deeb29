"""What an attempt costs in the store: failures count, deaths count where they are proven, and nothing else does."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa

from serve.jobs.claiming import _SUSPECTS
from serve.jobs.cost import Cost
from serve.jobs.database import StoreUnavailable
from serve.jobs.schema import jobs
from serve.jobs.store import JobResult, JobStore, LeaseLost
from serve.jobs.transitions import RESTS_S

PROBLEM = {"type": "internal"}
IMAGES = Cost(rows=2, gflop=1.0, steps=20, step_gflop=0.1)
WHY = "The worker died."


def counts(engine, job):
    with engine.connect() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job.id)).one()
    return row.attempt, row.failures, row.deaths, bool(row.suspect)


def kinds(store, job):
    return [event.kind for event in store.events(job.id)]


# What costs nothing


def test_a_lease_that_runs_out_costs_nothing(store, engine, submit, clock):
    job = submit()
    for attempt, owner in enumerate("abcde", start=1):
        (lease,) = store.claim(owner, 30, 1)
        assert lease.attempt == attempt
        clock.advance(30)
    store.claim("f", 30, 1)
    assert counts(engine, job) == (6, 0, 0, False)


def test_a_job_that_is_given_back_costs_nothing_and_waits_at_once(store, engine, submit, claim_one):
    job = submit()
    for _ in range(5):
        store.give_back([claim_one()], "The dispatcher was stopped.")
    assert counts(engine, job) == (5, 0, 0, False)
    told = store.events(job.id)[-1]
    assert (told.kind, told.data["attempt"], told.data["problem"]["detail"]) == (
        "queued",
        5,
        "The dispatcher was stopped.",
    )


def test_of_jobs_that_are_given_back_those_that_are_over_are_left_alone(store, submit, claim_one):
    submit(), submit()
    over, going = claim_one(), claim_one()
    store.succeed(over, JobResult(()))
    store.give_back([over, going], WHY)
    assert [store.get(lease.job.id).state for lease in (over, going)] == ["succeeded", "queued"]


def test_a_job_that_was_to_be_cancelled_is_cancelled_when_it_is_given_back(store, submit, claim_one):
    job = submit()
    lease = claim_one()
    store.request_cancel(job.id, "demo")
    store.give_back([lease], WHY)
    assert store.get(job.id).state == "cancelled"


# What is whose


def test_a_claim_leaves_the_owners_own_jobs_alone_however_long_it_could_not_renew(store, submit, claim_one, clock):
    submit()
    mine = claim_one("a", lease_s=30)
    clock.advance(3_600)
    submit("other")
    assert [lease.job.tenant for lease in store.claim("a", 30, 9)] == ["other"]
    store.succeed(mine, JobResult(()))


def test_after_an_outage_others_may_renew_before_they_are_taken_for_dead(store, submit, claim_one, clock):
    job = submit()
    claim_one("a", lease_s=30)
    clock.advance(3_600)
    submit("other")
    assert [lease.job.tenant for lease in store.claim("b", 30, 9, silent=False)] == ["other"]
    assert [lease.job.id for lease in store.claim("b", 30, 9)] == [job.id]


def break_after(engine, commits, monkeypatch):
    """The connection breaks after each of the next commits, before their answers come."""
    commit = engine.dialect.do_commit

    def commit_and_break(connection: object) -> None:
        commit(connection)
        if not commits:
            return
        commits.pop()
        if engine.dialect.name == "postgresql":
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        broken = sqlite3.OperationalError("disk I/O error")
        broken.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise broken

    monkeypatch.setattr(engine.dialect, "do_commit", commit_and_break)


def test_a_claim_whose_answer_was_lost_is_handed_out_again(store, engine, submit, monkeypatch):
    job, known = submit(), submit()
    with monkeypatch.context() as patch:
        break_after(engine, [1], patch)
        with pytest.raises(StoreUnavailable):
            store.claim("a", 30, 1)
    (held,) = store.claim("a", 30, 1)
    assert held.job.id == known.id
    (lease,) = store.claim_unknown("a", 30, [held.job.id])
    assert (lease.job.id, lease.attempt, lease.fence) == (job.id, 1, 2)
    assert kinds(store, job) == ["queued", "started"]
    store.succeed(lease, JobResult(()))
    assert store.claim_unknown("a", 30, [held.job.id]) == []


def test_what_is_handed_out_again_takes_no_write_of_before(store, submit, claim_one):
    submit()
    before = claim_one("a")
    store.claim_unknown("a", 30, [])
    with pytest.raises(LeaseLost):
        store.succeed(before, JobResult(()))


def test_what_another_holds_is_not_unknown(store, submit, claim_one):
    submit()
    claim_one("a")
    assert store.claim_unknown("b", 30, []) == []


# Suspects


def test_a_suspect_waits_apart_until_it_has_rested(store, engine, submit, claim_one, clock):
    job = submit()
    assert store.died(claim_one(), WHY) == "queued"
    assert counts(engine, job) == (1, 0, 0, True)
    assert store.claim("a", 30, 9) == []
    assert not store.suspects()
    assert store.claim_suspect("a", 30) is None
    clock.advance(RESTS_S[0])
    assert store.suspects()
    lease = store.claim_suspect("a", 30)
    assert (lease.job.id, lease.attempt, lease.fence) == (job.id, 2, 2)
    assert kinds(store, job) == ["queued", "started", "queued", "started"]
    store.succeed(lease, JobResult(()))
    assert store.get(job.id).state == "succeeded"


def test_a_suspect_that_is_given_back_is_suspect_still(store, engine, submit, claim_one, clock):
    job = submit()
    store.died(claim_one(), WHY)
    clock.advance(1)
    store.give_back([store.claim_suspect("a", 30)], WHY)
    assert counts(engine, job) == (2, 0, 0, True)
    assert store.claim("a", 30, 9) == []


def test_suspects_start_one_by_one_those_that_wait_longest_first(store, submit, claim_one, clock):
    submitted = [submit() for _ in range(3)]
    for lease in [claim_one() for _ in range(3)]:
        clock.advance(1)
        store.died(lease, WHY)
    clock.advance(1)
    assert [store.claim_suspect("a", 30).job.id for _ in range(3)] == [job.id for job in submitted]
    assert store.claim_suspect("a", 30) is None


def test_without_a_sampler_a_suspect_that_needs_one_is_not_started(store, submit, claim_one, clock):
    submit(cost=IMAGES)
    store.died(claim_one(), WHY)
    clock.advance(1)
    assert not store.suspects(images=False)
    assert store.claim_suspect("a", 30, images=False) is None
    assert store.suspects()


def test_a_suspect_of_which_its_owner_does_not_know_waits_again(store, engine, submit, claim_one, clock):
    job = submit()
    store.died(claim_one(), WHY)
    clock.advance(1)
    store.claim_suspect("a", 30)
    assert store.claim_unknown("a", 30, []) == []
    assert (store.get(job.id).state, counts(engine, job)) == ("queued", (2, 0, 0, True))


def test_deaths_that_count_are_1_10_and_60_s_apart_and_the_third_is_the_last(store, engine, submit, claim_one, clock):
    job = submit()
    store.died(claim_one(), WHY)
    for deaths, rest in enumerate((1, 10, 60)):
        assert counts(engine, job) == (1 + deaths, 0, deaths, True)
        clock.advance(rest - 0.5)
        assert store.claim_suspect("a", 30) is None
        clock.advance(0.5)
        store.died(store.claim_suspect("a", 30), WHY, counts=True)
    ended = store.get(job.id)
    assert (ended.state, ended.attempt, ended.error["type"]) == ("failed", 4, "job-failed")
    assert ended.error["detail"].startswith("3 workers died while they ran this job and nothing else")
    assert store.events(job.id)[-1].data == {"attempt": 4, "problem": ended.error}


def test_deaths_that_do_not_count_set_nothing_aside(store, engine, submit, claim_one, clock):
    job = submit()
    store.died(claim_one(), WHY)
    for _ in range(5):
        clock.advance(120)
        store.died(store.claim_suspect("a", 30), WHY, rest_s=120)
        clock.advance(119)
        assert not store.suspects()
    assert counts(engine, job) == (6, 0, 0, True)


def test_a_suspect_that_was_to_be_cancelled_is_cancelled(store, submit, claim_one):
    job = submit()
    lease = claim_one()
    store.request_cancel(job.id, "demo")
    assert store.died(lease, WHY) == "cancelled"
    assert store.get(job.id).state == "cancelled"


def test_a_death_is_told_by_who_held_the_job_alone(store, submit, claim_one, clock):
    submit()
    old = claim_one("a", lease_s=30)
    clock.advance(30)
    claim_one("b")
    with pytest.raises(LeaseLost):
        store.died(old, WHY)


# What counts


def test_failures_count_and_starts_do_not(engine, clock, spec, model):
    store = JobStore(engine, clock, max_attempts=2)
    job = store.submit("demo", spec, model)
    for _ in range(3):
        store.give_back(store.claim("a", 30, 1), WHY)
    assert store.retry(store.claim("a", 30, 1)[0], PROBLEM) == "queued"
    assert store.retry(store.claim("a", 30, 1)[0], PROBLEM) == "failed"
    assert store.get(job.id).attempt == 5


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL's planner decides by statistics
def test_looking_for_suspects_reads_no_other_job(engine):
    query = str(_SUSPECTS[True].compile(engine, compile_kwargs={"render_postcompile": True}))
    with engine.connect() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("queued", 0.0, 1, 0)).all()
    assert "INDEX jobs_by_suspicion" in steps[0][-1]
