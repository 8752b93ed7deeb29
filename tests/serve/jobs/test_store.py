"""What any database under the store must do; `database_url` lists them."""

from __future__ import annotations

import pickle
import re
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest
import sqlalchemy as sa

from serve.errors import Internal
from serve.jobs.database import VICTIM_TRIES, StoreUnavailable, durable, open_database
from serve.jobs.job import STATES
from serve.jobs.schema import jobs, locks
from serve.jobs.store import KEPT_SHARE, JobResult, JobStore, LeaseLost, LockLost, StoredImage, StoredMap

RESULT = JobResult(
    images=(StoredImage("demo/aa/b.png", 7, 256, 192),),
    control_maps=(StoredMap("demo/cc/d.png", "canny", 0),),
    timings={"sample": 1.25},
)
PROBLEM = Internal("The sampler went away.").problem()

# Everything a worker can write: each must be refused once the lease is over.
WRITES: dict[str, Callable[[JobStore, object], object]] = {
    "progress": lambda store, lease: store.progress([(lease, {"step": 1})]),
    "image_done": lambda store, lease: store.image_done(lease, 0, RESULT.images[0]),
    "succeed": lambda store, lease: store.succeed(lease, RESULT),
    "fail": lambda store, lease: store.fail(lease, PROBLEM),
    "retry": lambda store, lease: store.retry(lease, PROBLEM),
    "cancelled": lambda store, lease: store.cancelled(lease),
}


def refused(write, store, lease):
    """Progress, which is told of many jobs at once, leaves those out whose lease is over."""
    with nullcontext() if write == "progress" else pytest.raises(LeaseLost):
        WRITES[write](store, lease)


def kinds(store, job):
    return [event.kind for event in store.events(job.id)]


# Submitting and reading


def test_a_submitted_job_is_queued_and_pinned(store, spec, model, clock):
    job = store.submit("demo", spec, model)
    assert (job.state, job.attempt, job.tenant, job.created_at) == ("queued", 0, "demo", clock.now)
    assert (job.model.name, job.model.version, job.model.digest) == (model.name, model.version, model.digest)
    assert (job.progress, job.result, job.error, job.started_at, job.finished_at) == (None,) * 5
    assert not job.terminal
    assert kinds(store, job) == ["queued"]


def test_a_job_reads_back_as_it_was_submitted(store, spec, submit):
    job = submit()
    assert store.get(job.id) == job
    assert job.spec == spec


def test_ids_sort_by_time_and_differ_within_a_moment(store, spec, model, submit):
    first, second = submit(), submit()
    assert first.id < second.id
    assert len({store.submit("demo", spec, model).id for _ in range(10)}) == 10


def test_an_unknown_id_is_none(store):
    assert store.get("job_0") is None


def test_another_tenants_job_is_none(store, submit):
    job = submit("blue")
    assert store.get(job.id, "red") is None
    assert store.get(job.id, "blue") == job
    assert store.request_cancel(job.id, "red") is None
    assert store.get(job.id).state == "queued"


def test_counts_name_every_state(store, submit, claim_one):
    assert store.counts() == dict.fromkeys(STATES, 0)
    for _ in range(3):
        submit()
    store.fail(claim_one(), PROBLEM)
    claim_one()
    assert store.counts() == {"queued": 1, "running": 1, "succeeded": 0, "failed": 1, "cancelled": 0}


def test_events_can_be_read_from_where_one_stopped(store, submit, claim_one):
    job = submit()
    first = store.events(job.id)[-1]
    claim_one()
    assert [event.kind for event in store.events(job.id, after=first.id)] == ["started"]


# Claiming


def test_a_claim_takes_the_oldest_first(store, submit):
    jobs = [submit() for _ in range(4)]
    assert [lease.job.id for lease in store.claim("a", 30, 3)] == [job.id for job in jobs[:3]]
    assert [lease.job.id for lease in store.claim("b", 30, 3)] == [jobs[3].id]
    assert store.claim("c", 30, 3) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_claim_of_nothing_takes_nothing(store, submit, limit):
    submit()
    assert store.claim("a", 30, limit) == []


def test_a_claim_starts_an_attempt(store, submit, claim_one, clock):
    submit()
    clock.advance(5)
    lease = claim_one("a")
    assert (lease.owner, lease.attempt, lease.fence) == ("a", 1, 1)
    assert (lease.job.state, lease.job.attempt, lease.job.started_at) == ("running", 1, clock.now)
    assert store.get(lease.job.id) == lease.job
    assert kinds(store, lease.job) == ["queued", "started"]


def test_a_lease_that_has_not_run_out_is_left_alone(store, submit, claim_one, clock):
    submit()
    claim_one(lease_s=30)
    clock.advance(29.9)
    assert store.claim("b", 30, 1) == []


def test_a_lease_that_ran_out_is_claimed_again_as_the_next_attempt(store, submit, claim_one, clock):
    job = submit()
    old = claim_one("a", lease_s=30)
    store.progress([(old, {"step": 9})])
    clock.advance(30)
    new = claim_one("b")
    assert (new.job.id, new.owner, new.attempt, new.fence) == (job.id, "b", 2, 2)
    assert new.job.progress is None
    assert (new.job.spec, new.job.model) == (job.spec, job.model)
    assert new.job.started_at == old.job.started_at
    assert kinds(store, job) == ["queued", "started", "queued", "started"]


def test_a_job_taken_back_keeps_its_place(store, submit, claim_one, clock):
    first = submit()
    claim_one("a", lease_s=30)
    submit()
    clock.advance(30)
    assert claim_one("b").job.id == first.id


# Holding a lease


def test_renewing_keeps_the_job(store, submit, claim_one, clock):
    submit()
    lease = claim_one(lease_s=30)
    clock.advance(20)
    assert store.renew([lease], 30) == []
    clock.advance(20)
    assert store.claim("b", 30, 1) == []


def test_a_late_worker_keeps_a_job_that_nobody_took(store, submit, claim_one, clock):
    submit()
    lease = claim_one(lease_s=30)
    clock.advance(1_000)
    assert store.renew([lease], 30) == []
    assert store.claim("b", 30, 1) == []


def test_renewing_a_lost_lease_says_so(store, submit, claim_one, clock):
    submit()
    old = claim_one("a", lease_s=30)
    clock.advance(30)
    claim_one("b")
    assert store.renew([old], 30) == [old]


def test_many_leases_are_renewed_at_once_and_the_lost_ones_told(store, submit, clock):
    for _ in range(3):
        submit()
    first, second, third = store.claim("a", 30, 3)
    store.succeed(second, RESULT)
    clock.advance(20)
    assert store.renew([first, second, third], 30) == [second]
    clock.advance(20)
    assert store.claim("b", 30, 3) == []


def test_an_old_fence_renews_nothing(store, submit, claim_one, clock):
    submit()
    old = claim_one("a", lease_s=30)
    clock.advance(30)
    new = claim_one("b")
    assert store.renew([old], 30) == [old]
    assert store.renew([new], 30) == []


def test_the_ended_are_those_that_are_over_or_gone(store, submit, claim_one):
    over, waiting = submit().id, submit().id
    store.succeed(claim_one(), RESULT)
    assert store.ended([over, waiting, "job_none"]) == {over: store.get(over), "job_none": None}


def test_progress_shows(store, submit, claim_one):
    submit()
    lease = claim_one()
    store.progress([(lease, {"step": 3, "steps": 20})])
    assert store.get(lease.job.id).progress == {"step": 3, "steps": 20}


def test_progress_of_many_jobs_is_one_write(store, submit, claim_one, clock):
    jobs = [submit() for _ in range(3)]
    lost = claim_one(lease_s=10)
    leases = [claim_one(lease_s=60), claim_one(lease_s=60)]
    clock.advance(10)
    leases.append(claim_one("b"))
    store.progress([(lease, {"step": i}) for i, lease in enumerate([lost, *reversed(leases)])])
    shown = {job.id: store.get(job.id).progress for job in jobs}
    assert shown == {lease.job.id: {"step": i} for i, lease in enumerate(reversed(leases), start=1)}


def test_a_stored_image_is_an_event(store, submit, claim_one):
    submit()
    lease = claim_one()
    store.image_done(lease, 1, RESULT.images[0])
    event = store.events(lease.job.id)[-1]
    assert event.kind == "image"
    assert event.data == {"index": 1, "image": {"key": "demo/aa/b.png", "seed": 7, "width": 256, "height": 192}}


def test_what_an_attempt_made_is_told_once_however_often_it_is_written(store, submit, claim_one, clock):
    """Whoever lost the answer to a COMMIT writes again."""
    job = submit()
    for owner in "ab":
        lease = claim_one(owner, lease_s=30)
        for _ in range(2):
            store.annotated(lease, RESULT.control_maps)
            store.image_done(lease, 0, RESULT.images[0])
            store.image_done(lease, 1, RESULT.images[0])
        clock.advance(30)
    assert kinds(store, job) == [
        *("queued", "started", "annotated", "image", "image"),
        *("queued", "started", "annotated", "image", "image"),
    ]


def test_an_image_that_was_not_told_is_told_before_the_end(store, submit, claim_one):
    submit()
    lease = claim_one()
    store.succeed(lease, RESULT, untold=[0])
    assert [event.kind for event in store.events(lease.job.id)][-2:] == ["image", "succeeded"]


@pytest.mark.parametrize("write", WRITES)
def test_an_old_owner_can_write_nothing(store, submit, claim_one, clock, write):
    job = submit()
    old = claim_one("a", lease_s=30)
    clock.advance(30)
    claim_one("b")
    before = (store.get(job.id), store.events(job.id))
    refused(write, store, old)
    assert (store.get(job.id), store.events(job.id)) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_finished_job_takes_no_more_writes(store, submit, claim_one, write):
    job = submit()
    lease = claim_one()
    store.succeed(lease, RESULT)
    before = (store.get(job.id), store.events(job.id))
    refused(write, store, lease)
    assert (store.get(job.id), store.events(job.id)) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_job_that_waits_again_takes_no_writes_of_its_last_worker(store, submit, claim_one, write):
    job = submit()
    lease = claim_one()
    store.retry(lease, PROBLEM)
    before = (store.get(job.id), store.events(job.id))
    refused(write, store, lease)
    assert (store.get(job.id), store.events(job.id)) == before


def test_a_lost_lease_can_cross_processes(submit, claim_one):
    submit()
    lease = claim_one()
    error = pickle.loads(pickle.dumps(LeaseLost(lease)))
    assert error.lease == lease
    assert str(error) == f"a lost {lease.job.id}: fence 1 is over"


# Ending


def test_success_stores_the_result(store, submit, claim_one, clock):
    job = submit()
    lease = claim_one()
    clock.advance(4)
    store.succeed(lease, RESULT)
    done = store.get(job.id)
    assert (done.state, done.terminal, done.result, done.finished_at) == ("succeeded", True, RESULT, clock.now)
    assert kinds(store, job) == ["queued", "started", "succeeded"]


def test_failure_stores_the_problem(store, submit, claim_one):
    job = submit()
    store.fail(claim_one(), PROBLEM)
    failed = store.get(job.id)
    assert (failed.state, failed.error, failed.result) == ("failed", PROBLEM, None)
    assert store.claim("b", 30, 1) == []


def test_a_retry_waits_again_with_everything_unchanged(store, submit, claim_one):
    job = submit()
    assert store.retry(claim_one(), PROBLEM) == "queued"
    again = store.get(job.id)
    assert again == replace(job, attempt=1, started_at=again.started_at)
    assert store.events(job.id)[-1].data == {"attempt": 1, "problem": PROBLEM}
    assert claim_one().attempt == 2


def test_the_last_retry_fails_with_its_problem(store, submit, claim_one):
    job = submit()
    assert [store.retry(claim_one(), PROBLEM) for _ in range(3)] == ["queued", "queued", "failed"]
    assert store.get(job.id).error == PROBLEM
    assert kinds(store, job)[-1] == "failed"


def test_a_job_must_be_tried_at_least_once(engine):
    with pytest.raises(ValueError, match="max_attempts is 0"):
        JobStore(engine, max_attempts=0)


# Cancelling


def test_a_queued_job_is_cancelled_at_once(store, submit, clock):
    job = submit()
    cancelled = store.request_cancel(job.id, "demo")
    assert (cancelled.state, cancelled.finished_at) == ("cancelled", clock.now)
    assert store.claim("a", 30, 1) == []
    assert kinds(store, job) == ["queued", "cancelled"]


def test_a_running_job_is_flagged_and_its_worker_ends_it(store, submit, claim_one):
    job = submit()
    lease = claim_one()
    asked = store.request_cancel(job.id, "demo")
    assert (asked.state, asked.cancel_requested) == ("running", True)
    assert store.cancel_requests(lease.owner) == [job.id]
    store.cancelled(lease)
    assert store.get(job.id).state == "cancelled"
    assert kinds(store, job) == ["queued", "started", "cancelled"]


def test_a_running_job_may_still_succeed_before_its_worker_hears(store, submit, claim_one):
    job = submit()
    lease = claim_one()
    store.request_cancel(job.id, "demo")
    store.succeed(lease, RESULT)
    assert store.get(job.id).state == "succeeded"


def test_a_flagged_job_is_not_tried_again(store, submit, claim_one):
    job = submit()
    lease = claim_one()
    store.request_cancel(job.id, "demo")
    assert store.retry(lease, PROBLEM) == "cancelled"
    assert store.get(job.id).state == "cancelled"


def test_a_flagged_job_whose_worker_went_silent_is_cancelled(store, submit, claim_one, clock):
    job = submit()
    claim_one(lease_s=30)
    store.request_cancel(job.id, "demo")
    clock.advance(30)
    assert store.claim("b", 30, 1) == []
    assert store.get(job.id).state == "cancelled"


@pytest.mark.parametrize("end", ["succeed", "fail", "cancelled"])
def test_a_finished_job_stays_as_it_is(store, submit, claim_one, end):
    job = submit()
    WRITES[end](store, claim_one())
    before = (store.get(job.id), store.events(job.id))
    assert store.request_cancel(job.id, "demo") == before[0]
    assert (store.get(job.id), store.events(job.id)) == before


# The serving pointer and locks


def test_nothing_is_served_at_first(store):
    assert store.serving() is None


def test_the_serving_pointer_reads_back(store, model):
    store.set_serving(model)
    assert store.serving() == store.serving(model.name) == model
    assert store.serving("other") is None


def test_without_a_name_the_last_promoted_model_is_served(store, model, clock):
    other = replace(model, name="other")
    for promoted in (model, other, model):
        clock.advance(1)
        store.set_serving(promoted)
        assert store.serving() == promoted
    assert store.serving("other") == other


def test_promotion_leaves_admitted_jobs_on_their_version(store, model, submit):
    job = submit()
    store.set_serving(replace(model, version="4", digest="sha256:bb"))
    assert store.get(job.id).model.digest == model.digest


def test_the_serving_pointer_flips_whole(database_url, store, model):
    """A reader sees one version's digest and manifest or the other's, never one of each."""
    versions = [
        replace(model, version=v, digest=f"sha256:{v}", manifest={"v": v, "pad": ["x"] * 500}, source=v) for v in "ab"
    ]
    store.set_serving(versions[0])
    engine = open_database(database_url)
    reader, done, seen = JobStore(engine), threading.Event(), []

    def read() -> None:
        while not done.is_set():
            seen.append(reader.serving())

    thread = threading.Thread(target=read)
    thread.start()
    for n in range(50):
        store.set_serving(versions[n % 2])
    done.set()
    thread.join()
    engine.dispose()
    assert seen
    assert all(served in versions for served in seen)


def test_a_lock_is_one_owners_until_it_runs_out(store, clock):
    assert store.take_lock("reconciler", "a", 10)
    assert not store.take_lock("reconciler", "b", 10)
    assert store.take_lock("other", "b", 10)
    clock.advance(9)
    assert store.take_lock("reconciler", "a", 10)
    clock.advance(9)
    assert not store.take_lock("reconciler", "b", 10)
    clock.advance(1)
    assert store.take_lock("reconciler", "b", 10)
    assert not store.take_lock("reconciler", "a", 10)


@pytest.mark.parametrize(("age", "writes"), [(3, 0), (4, 1)])
def test_a_lock_is_written_again_when_a_third_of_its_time_is_over(store, clock, age, writes):
    """Every commit wakes whoever waits for the store, and an idle platform takes its locks every second."""
    store.take_lock("reconciler", "a", 10)
    clock.advance(age)
    committed = []
    sa.event.listen(store._soft, "commit", committed.append)
    assert store.take_lock("reconciler", "a", 10)
    assert len(committed) == writes
    clock.advance(10 * KEPT_SHARE)
    assert not store.take_lock("reconciler", "b", 10)


def test_a_lock_that_would_last_too_long_is_shortened(store, clock):
    store.take_lock("reconciler", "a", 100)
    assert store.take_lock("reconciler", "a", 10)
    clock.advance(10)
    assert store.take_lock("reconciler", "b", 10)


def test_a_lock_can_be_given_back(store):
    store.take_lock("reconciler", "a", 10)
    assert store.take_lock("reconciler", "a", 0)
    assert store.take_lock("reconciler", "b", 10)


def test_a_lock_that_was_given_back_may_be_kept_by_its_owner(store, clock):
    """It has run out, and nobody has taken it."""
    store.take_lock("reconciler", "a", 10)
    clock.advance(11)
    assert store.keep_lock("reconciler", "a", 10)
    assert not store.take_lock("reconciler", "b", 10)


def test_a_lock_that_was_anothers_meanwhile_is_not_kept(store):
    store.take_lock("reconciler", "a", 0)
    store.take_lock("reconciler", "b", 0)
    assert not store.keep_lock("reconciler", "a", 10)
    assert store.take_lock("reconciler", "a", 10)


def test_a_version_is_served_while_its_reconciler_holds_the_lock(store, model):
    store.take_lock("reconciler", "a", 10)
    store.set_serving(model, ("reconciler", "a"))
    assert store.serving() == model


@pytest.mark.parametrize(("seconds", "taken"), [(11, False), (11, True), (0, True)])
def test_no_version_is_served_by_who_has_lost_the_lock(store, clock, model, seconds, taken):
    if seconds:
        store.take_lock("reconciler", "a", 10)
        clock.advance(seconds)
    if taken:
        store.take_lock("reconciler", "b", 10)
    with pytest.raises(LockLost, match="a does not hold the lock 'reconciler'"):
        store.set_serving(model, ("reconciler", "a"))
    assert store.serving() is None


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_nobody_can_take_the_lock_while_a_version_begins_to_be_served(engine, store, model):
    store.take_lock("reconciler", "a", 10)
    free = []

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO serving"):
            with durable(engine).begin() as other:
                free.append(other.scalar(sa.select(locks.c.name).with_for_update(skip_locked=True)))

    sa.event.listen(engine, "before_cursor_execute", look)
    store.set_serving(model, ("reconciler", "a"))
    assert free == [None]


# Transactions that wait for each other

on_postgres = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def give_up(engine):
    """Have PostgreSQL give up the next transactions that change jobs, so many, as it does in a deadlock."""
    with durable(engine).begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE victims")
        connection.exec_driver_sql(
            "CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "IF nextval('victims') <= TG_ARGV[0]::int THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF; "
            "RETURN NEW; END $$"
        )

    def give_up(count: int) -> None:
        with durable(engine).begin() as connection:
            connection.exec_driver_sql(
                f"CREATE TRIGGER victim BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION give_up({count})"
            )

    yield give_up
    with durable(engine).begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION give_up CASCADE")
        connection.exec_driver_sql("DROP SEQUENCE victims")


@on_postgres
def test_what_was_given_up_is_done_again_and_nobody_is_told(store, submit, give_up):
    job = submit()
    give_up(VICTIM_TRIES - 1)
    assert store.request_cancel(job.id, "demo").state == "cancelled"
    assert kinds(store, job) == ["queued", "cancelled"]


@on_postgres
def test_what_is_given_up_every_time_is_told(store, submit, give_up):
    job = submit()
    give_up(VICTIM_TRIES)
    with pytest.raises(StoreUnavailable):
        store.request_cancel(job.id, "demo")
    assert kinds(store, job) == ["queued"]


@on_postgres
def test_leases_are_renewed_in_the_order_of_ids(store, engine, spec, model, clock, until_blocked):
    """As progress is written: in another order each could hold what the other waits for."""
    clock.advance(100)
    later = store.submit("demo", spec, model).id  # the first row of the table
    clock.advance(-100)
    first = store.submit("demo", spec, model).id
    leases = store.claim("a", 1000, 8)
    store.progress([(lease, {}) for lease in leases if lease.job.id == first])  # and its row is the last again

    @sa.event.listens_for(engine, "begin")
    def as_they_lie(connection: sa.Connection) -> None:
        """Read rows in the order of the table, as PostgreSQL may where many are asked for."""
        if connection.get_execution_options().get("cn_write"):
            for way in ("indexscan", "indexonlyscan", "bitmapscan"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")

    renewing = threading.Thread(target=store.renew, args=(leases, 1000))
    with durable(engine).begin() as other:
        other.execute(sa.select(jobs.c.id).where(jobs.c.id == first).with_for_update())
        renewing.start()
        until_blocked(renewing)
        free = sa.select(jobs.c.id).where(jobs.c.id == later).with_for_update(skip_locked=True)
        assert other.scalar(free) == later
    renewing.join()


@on_postgres
def test_jobs_that_are_late_are_ended_past_one_that_is_being_cancelled(store, engine, submit, clock):
    ended, busy = (submit(deadline_s=1).id for _ in range(2))
    clock.advance(60)
    with durable(engine).begin() as other:
        other.execute(sa.select(jobs.c.id).where(jobs.c.id == busy).with_for_update())
        store.end_late()
        assert [store.get(job).state for job in (ended, busy)] == ["failed", "queued"]


def test_days_are_given_back_after_all_rows_and_in_one_order(store, engine, submit, clock):
    for tenant in ("b", "a", "b"):
        submit(tenant, deadline_s=1)
    clock.advance(60)
    written = []

    def note(_connection, _cursor, statement, values, *_):
        found = re.match(r"UPDATE (\w+)", statement)
        if found:
            written.append((found[1], values))

    sa.event.listen(engine, "before_cursor_execute", note)
    store.end_late()
    assert [table for table, _ in written] == ["jobs"] * 3 + ["spent"] * 2
    named = [set(values.values() if isinstance(values, dict) else values) & {"a", "b"} for _, values in written[3:]]
    assert named == [{"a"}, {"b"}]
