from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa

from serve.jobs.database import durable
from serve.jobs.retention import (
    DEFAULTS,
    KEPT_S,
    PUT_OFF_S,
    RATES_KEPT_S,
    SPENT_KEPT_S,
    ArtifactsSwept,
    Kept,
    Retention,
)
from serve.jobs.schema import audit, deliveries, events, jobs, rates, spent, usage
from serve.jobs.store import WEEK_S, JobResult, JobStore, StoredImage, StoredMap
from serve.tenancy.tenants import Tenant, Tenants

INPUT = "demo/in.png"
RESULT = JobResult(
    images=(StoredImage("demo/a.png", 7, 256, 192), StoredImage("demo/b.png", 8, 256, 192)),
    control_maps=(StoredMap("demo/map.png", "canny", 0),),
)
OUTPUTS = {"demo/a.png", "demo/b.png", "demo/map.png"}


@pytest.fixture
def made(store, submit, claim_one):
    """A job that succeeded with RESULT."""

    def made():
        job = submit()
        store.succeed(claim_one(), RESULT)
        return job

    return made


# Expiry


def test_a_result_is_kept_for_its_time(store, made, clock):
    job = made()
    assert store.get(job.id).expires_at == clock.now + WEEK_S
    clock.advance(WEEK_S - 1)
    assert store.retention.expire() == 0
    assert store.get(job.id).result == RESULT


def test_then_it_goes_and_the_state_stays(store, made, clock):
    job = made()
    clock.advance(WEEK_S)
    assert store.retention.expire() == 1
    expired = store.get(job.id)
    assert (expired.state, expired.result, expired.expired_at) == ("succeeded", None, clock.now)
    assert store.retention.expire() == 0


def test_each_job_keeps_the_retention_it_was_submitted_with(engine, clock, spec, model):
    brief = JobStore(engine, clock, retention_s=60)
    job = brief.submit("demo", spec, model)
    JobStore(engine, clock).request_cancel(job.id, "demo")
    assert brief.get(job.id).expires_at == clock.now + 60


def test_a_job_that_has_not_ended_does_not_expire(store, submit, claim_one, clock):
    submit(), submit()
    claim_one(lease_s=10 * WEEK_S)
    clock.advance(2 * WEEK_S)
    assert store.retention.expire() == 0
    assert store.retention.condemn([INPUT]) == 0


def test_what_expires_is_bounded_each_time(store, submit, clock):
    for _ in range(5):
        store.request_cancel(submit().id, "demo")
    clock.advance(WEEK_S)
    assert [store.retention.expire(limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_artifacts_that_only_it_held_are_condemned(store, made, clock, condemned):
    made()
    clock.advance(WEEK_S)
    store.retention.expire()
    assert condemned() == OUTPUTS | {INPUT}


def test_those_that_another_job_holds_are_not(store, made, submit, clock, condemned):
    made()
    clock.advance(WEEK_S)
    submit()  # of the same picture
    store.retention.expire()
    assert condemned() == OUTPUTS


# Orphans


def test_what_nothing_holds_can_be_condemned(store, made, condemned):
    made()
    assert store.retention.condemn([INPUT, "demo/a.png", "demo/orphan.png"]) == 1
    assert condemned() == {"demo/orphan.png"}
    assert store.retention.condemn(["demo/orphan.png"]) == 0


def test_what_was_swept_is_not_condemned_any_more(store, condemned):
    store.retention.condemn(["demo/x.png", "demo/y.png"])
    deletion = store.retention.take()
    assert store.retention.swept(deletion, ["demo/x.png"]) == 1
    assert condemned() == {"demo/y.png"}


# Deletions


def test_the_oldest_are_deleted_first_and_some_at_a_time(store, clock):
    for name in "cab":
        store.retention.condemn([f"demo/{name}.png"])
        clock.advance(1)
    assert set(store.retention.take(limit=2).keys) == {"demo/c.png", "demo/a.png"}


def test_what_a_sweeper_left_that_stopped_is_the_next_ones(store, condemned):
    store.retention.condemn([INPUT])
    stopped, following = store.retention.take(), store.retention.take()
    assert (stopped.keys, following.keys) == ((INPUT,), (INPUT,))
    assert store.retention.taken(stopped) == set()
    assert store.retention.taken(following) == {INPUT}
    assert store.retention.swept(stopped, [INPUT]) == 0
    assert condemned() == {INPUT}
    assert store.retention.swept(following, [INPUT]) == 1


def test_what_could_not_be_deleted_is_tried_again_later(store, clock, condemned):
    store.retention.condemn(["demo/stuck.png", "demo/x.png"])
    assert store.retention.swept(store.retention.take(), ["demo/x.png"], ["demo/stuck.png"]) == 1
    assert condemned() == {"demo/stuck.png"}
    assert store.retention.take().keys == ()
    clock.advance(PUT_OFF_S)
    assert store.retention.take().keys == ("demo/stuck.png",)


# The race of a put with a deletion: see the module's words. P is the put, D the deletion, H the hold's transaction.


def test_a_hold_before_the_condemnation_keeps_the_bytes(store, submit):
    submit()
    assert store.retention.condemn([INPUT]) == 0


def test_a_hold_on_what_is_condemned_keeps_the_bytes_and_waits_for_no_sweeper(store, submit, condemned):
    mark = store.retention.mark()
    store.retention.condemn([INPUT, "demo/x.png"])
    submit(mark=mark)
    assert condemned() == {"demo/x.png"}
    assert store.retention.take().keys == ("demo/x.png",)


def test_a_result_that_is_condemned_is_held_by_the_first_attempt(store, submit, claim_one, condemned):
    submit()
    lease = claim_one()
    store.retention.condemn(OUTPUTS)
    store.succeed(lease, RESULT)
    assert condemned() == set()


def test_a_hold_on_what_is_being_deleted_is_refused_and_leaves_no_job(store, submit):
    mark = store.retention.mark()
    store.retention.condemn([INPUT])
    store.retention.take()
    with pytest.raises(ArtifactsSwept) as refused:
        submit(mark=mark)
    assert refused.value.keys == {INPUT}
    assert store.page("demo").jobs == ()


def test_who_is_refused_for_one_key_takes_no_other_from_the_sweeper(store, submit, claim_one, condemned):
    submit()
    lease = claim_one()
    store.retention.condemn(["demo/a.png"])
    store.retention.take()
    store.retention.condemn(["demo/b.png"])
    with pytest.raises(ArtifactsSwept) as refused:
        store.succeed(lease, RESULT)
    assert refused.value.keys == {"demo/a.png"}
    assert condemned() == {"demo/a.png", "demo/b.png"}


def test_what_a_sweeper_of_0_1_may_be_deleting_is_refused(store, submit, engine):
    """It does not say what it has taken: its rows have no token."""
    with durable(engine).begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO condemned (key, at) VALUES ('{INPUT}', 1)")
    with pytest.raises(ArtifactsSwept):
        submit(mark=store.retention.mark())
    assert store.retention.take().keys == (INPUT,)


def test_a_hold_on_what_could_not_be_deleted_keeps_what_was_put_since(store, submit, condemned):
    mark = store.retention.mark()
    store.retention.condemn([INPUT])
    store.retention.swept(store.retention.take(), [], [INPUT])
    with pytest.raises(ArtifactsSwept):  # the bytes may be gone though it was said that they are not
        submit(mark=mark)
    submit(mark=store.retention.mark())
    assert condemned() == set()


def test_a_hold_on_what_was_put_before_it_was_deleted_is_refused(store, submit, sweep_away):
    mark = store.retention.mark()  # then P, then D
    sweep_away(INPUT)
    with pytest.raises(ArtifactsSwept):
        submit(mark=mark)


def test_a_hold_on_what_was_put_after_it_was_deleted_is_fine(store, submit, sweep_away):
    sweep_away(INPUT)
    job = submit(mark=store.retention.mark())
    assert store.get(job.id) == job
    assert store.retention.condemn([INPUT]) == 0


def test_the_deletion_of_other_artifacts_refuses_nothing(store, submit):
    store.retention.condemn(["demo/x.png", "demo/y.png"])
    store.retention.swept(store.retention.take(), ["demo/x.png"])
    submit(mark=0)


def test_a_result_that_may_be_gone_again_is_refused_and_the_job_runs_on(store, submit, claim_one, engine, sweep_away):
    job = submit()
    lease = claim_one()
    sweep_away("demo/a.png")
    with pytest.raises(ArtifactsSwept):
        store.succeed(lease, RESULT)
    assert store.get(job.id).state == "running"
    assert store.usage.between("demo", 0, 1e10) == []
    assert store.events(job.id)[-1].kind == "started"


def test_the_next_attempt_puts_it_again_and_is_fine(store, submit, claim_one, sweep_away):
    job = submit()
    lease = claim_one()
    sweep_away("demo/a.png")
    store.retry(lease, {"type": "overloaded"})
    store.succeed(claim_one(), RESULT)
    assert store.get(job.id).result == RESULT


def test_sweeps_are_remembered_for_longer_than_any_request_takes(store, submit, clock, sweep_away):
    mark = store.retention.mark()
    sweep_away(INPUT)
    clock.advance(KEPT_S - 2)
    store.retention.forget()
    with pytest.raises(ArtifactsSwept):
        submit(mark=mark)
    clock.advance(1)
    store.retention.forget()
    assert store.retention.mark() == 0


def test_marks_only_grow_though_sweeps_are_forgotten(store, submit, clock, sweep_away):
    for _ in range(3):
        mark = store.retention.mark()
        sweep_away(INPUT)
        with pytest.raises(ArtifactsSwept):
            submit(mark=mark)
        clock.advance(KEPT_S)
        store.retention.forget()


# Rows


def count(engine, *tables):
    with engine.connect() as connection:
        return [connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables]


@pytest.fixture
def expired(store, submit, claim_one, clock):
    """A job whose webhook was called and whose result has expired."""

    def expired():
        job = submit(webhook="https://example.test/hook")
        store.succeed(claim_one(), RESULT)
        (delivery,) = store.deliveries.claim(30, 1)
        store.deliveries.delivered(delivery)
        clock.advance(WEEK_S)
        store.retention.expire()
        return job

    return expired


def test_a_jobs_row_goes_in_its_time_with_its_events_and_its_usage_stays(store, engine, expired, clock):
    job = expired()
    clock.advance(DEFAULTS.jobs - 1)
    store.retention.forget()
    assert store.get(job.id).state == "succeeded"
    clock.advance(1)
    assert store.retention.forget() == 1
    assert store.get(job.id) is None
    assert count(engine, jobs, events, deliveries, usage) == [0, 0, 0, 1]
    assert store.usage.between("demo", 0, 1e10)[0].images == 2


def test_a_job_whose_result_is_kept_stays_however_old_it_is(store, made, clock):
    job = made()
    clock.advance(10 * DEFAULTS.jobs)
    store.retention.forget()
    assert store.get(job.id).result == RESULT


def test_a_webhook_that_is_still_to_be_called_keeps_its_job(store, submit, clock):
    job = submit(webhook="https://example.test/hook")
    store.request_cancel(job.id, "demo")
    clock.advance(WEEK_S)
    store.retention.expire()
    clock.advance(DEFAULTS.jobs)
    store.retention.forget()
    assert store.deliveries.of(job.id).state == "pending"


def test_usage_and_audit_are_kept_for_ever_unless_it_is_said(store, engine, expired, clock):
    Tenants(engine, clock).apply([Tenant("red")], "test")
    expired()
    clock.advance(100 * DEFAULTS.jobs)
    store.retention.forget()
    assert count(engine, usage, audit) == [1, 1]
    Retention(engine, clock, Kept(usage=DEFAULTS.jobs, audit=DEFAULTS.jobs)).forget()
    assert count(engine, usage, audit) == [0, 0]


def test_young_usage_and_audit_stay(engine, expired, clock):
    Tenants(engine, clock).apply([Tenant("red")], "test")
    expired()
    Retention(engine, clock, Kept(usage=WEEK_S + 2, audit=WEEK_S + 2)).forget()
    assert count(engine, usage, audit) == [1, 1]


def test_what_goes_is_bounded_each_time(store, engine, submit, clock):
    for _ in range(5):
        store.request_cancel(submit().id, "demo")
    clock.advance(WEEK_S)
    store.retention.expire()
    clock.advance(DEFAULTS.jobs)
    left = []
    while store.retention.forget(limit=2):
        left += count(engine, jobs)
    assert left == [3, 1, 0]


def test_what_teams_took_long_ago_is_forgotten(store, engine, submit, clock):
    submit()
    store.rates.take("demo", 60)
    clock.advance(RATES_KEPT_S + 1)
    store.retention.forget()
    assert count(engine, rates, spent) == [0, 1]
    clock.advance(SPENT_KEPT_S)
    store.retention.forget()
    assert count(engine, rates, spent) == [0, 0]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_is_sorted_or_read_whole_to_find_what_goes(store, engine):
    asked = []

    def note(_connection, _cursor, statement, values, *_):
        if statement.startswith("DELETE"):
            asked.append((statement, values))

    sa.event.listen(engine, "before_cursor_execute", note)
    store.retention.forget()
    sa.event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        plans = [
            [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
            for statement, values in asked
        ]
    assert len(plans) == 7
    assert not [step for steps in plans for step in steps if "TEMP B-TREE FOR ORDER" in step]
    assert "jobs_by_expiry" in " ".join(plans[1])


def test_being_refused_can_cross_processes():
    error = pickle.loads(pickle.dumps(ArtifactsSwept({"demo/a.png"})))
    assert error.keys == {"demo/a.png"}
    assert error.status == 503


def together(*calls: Callable[[], object]) -> None:
    """Call in threads that begin at once; what one raises is its own."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        barrier.wait()
        with contextlib.suppress(ArtifactsSwept):
            call()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("before", [True, False], ids=["condemned before", "condemned meanwhile"])
def test_holds_and_deletions_at_once_never_both_win(engine, spec, model, before):
    """Each round one thread submits a job on a key while another takes it to delete it: one of the two has nothing."""
    store = JobStore(engine)
    for n in range(15):
        key = f"demo/{n}.png"
        wanted = replace(spec, controls=(replace(spec.controls[0], images=(key,)),))
        jobs, taken = [], []
        if before:
            store.retention.condemn([key])

        def submit(wanted=wanted, jobs=jobs):
            jobs.append(store.submit("demo", wanted, model))

        def delete(key=key, taken=taken):
            if not before:
                store.retention.condemn([key])
            taken.append(store.retention.take())

        together(submit, delete)
        (deletion,) = taken
        assert (len(jobs), deletion.keys) in [(1, ()), (0, (key,))]
        store.retention.swept(deletion, deletion.keys)


def test_two_jobs_at_once_keep_what_is_condemned(engine, spec, model, condemned):
    store = JobStore(engine)
    keys = [f"demo/{n}.png" for n in range(4)]
    for _ in range(10):
        store.retention.condemn(keys)
        both = [replace(spec, controls=(replace(spec.controls[0], images=tuple(way)),)) for way in (keys, keys[::-1])]
        jobs = []

        def submit(wanted, jobs=jobs):
            jobs.append(store.submit("demo", wanted, model))

        together(*(partial(submit, wanted) for wanted in both))
        assert (len(jobs), condemned()) == (2, set())
        for job in jobs:
            store.request_cancel(job.id, "demo")
        JobStore(engine, clock=lambda: 1e11).retention.expire()
