from __future__ import annotations

import pickle
import threading
from dataclasses import replace

import pytest

from serve.jobs.retention import KEPT_S, ArtifactsSwept
from serve.jobs.store import WEEK_S, JobResult, JobStore, StoredImage, StoredMap

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


def test_the_artifacts_that_only_it_held_are_condemned(store, made, clock):
    made()
    clock.advance(WEEK_S)
    store.retention.expire()
    assert set(store.retention.condemned()) == OUTPUTS | {INPUT}


def test_those_that_another_job_holds_are_not(store, made, submit, clock):
    made()
    clock.advance(WEEK_S)
    submit()  # of the same picture
    store.retention.expire()
    assert set(store.retention.condemned()) == OUTPUTS


# Orphans


def test_what_nothing_holds_can_be_condemned(store, made):
    made()
    assert store.retention.condemn([INPUT, "demo/a.png", "demo/orphan.png"]) == 1
    assert store.retention.condemned() == ["demo/orphan.png"]
    assert store.retention.condemn(["demo/orphan.png"]) == 0


def test_what_was_swept_is_not_condemned_any_more(store):
    store.retention.condemn(["demo/x.png", "demo/y.png"])
    store.retention.swept(["demo/x.png"])
    assert store.retention.condemned() == ["demo/y.png"]


# The race of a put with a deletion: see the module's words. P is the put, D the deletion, H the hold's transaction.


def test_a_hold_before_the_condemnation_keeps_the_bytes(store, submit):
    submit()
    assert store.retention.condemn([INPUT]) == 0


def test_a_hold_on_what_is_condemned_is_refused_and_leaves_no_job(store, submit):
    mark = store.retention.mark()
    store.retention.condemn([INPUT])
    with pytest.raises(ArtifactsSwept) as refused:
        submit(mark=mark)
    assert refused.value.keys == {INPUT}
    assert store.page("demo").jobs == ()


def test_a_hold_on_what_was_put_before_it_was_deleted_is_refused(store, submit):
    mark = store.retention.mark()  # then P, then D
    store.retention.condemn([INPUT])
    store.retention.swept([INPUT])
    with pytest.raises(ArtifactsSwept):
        submit(mark=mark)


def test_a_hold_on_what_was_put_after_it_was_deleted_is_fine(store, submit):
    store.retention.condemn([INPUT])
    store.retention.swept([INPUT])
    job = submit(mark=store.retention.mark())
    assert store.get(job.id) == job
    assert store.retention.condemn([INPUT]) == 0


def test_the_deletion_of_other_artifacts_refuses_nothing(store, submit):
    store.retention.condemn(["demo/x.png", "demo/y.png"])
    store.retention.swept(["demo/x.png"])
    submit(mark=0)


def test_a_result_that_may_be_gone_again_is_refused_and_the_job_runs_on(store, submit, claim_one, engine):
    job = submit()
    lease = claim_one()
    store.retention.condemn(["demo/a.png"])
    store.retention.swept(["demo/a.png"])
    with pytest.raises(ArtifactsSwept):
        store.succeed(lease, RESULT)
    assert store.get(job.id).state == "running"
    assert store.usage.between("demo", 0, 1e10) == []
    assert store.events(job.id)[-1].kind == "started"


def test_the_next_attempt_puts_it_again_and_is_fine(store, submit, claim_one):
    job = submit()
    lease = claim_one()
    store.retention.condemn(["demo/a.png"])
    store.retention.swept(["demo/a.png"])
    store.retry(lease, {"type": "overloaded"})
    store.succeed(claim_one(), RESULT)
    assert store.get(job.id).result == RESULT


def test_sweeps_are_remembered_for_longer_than_any_request_takes(store, submit, clock):
    mark = store.retention.mark()
    store.retention.condemn([INPUT])
    store.retention.swept([INPUT])
    clock.advance(KEPT_S - 2)
    store.retention.forget()
    with pytest.raises(ArtifactsSwept):
        submit(mark=mark)
    clock.advance(1)
    store.retention.forget()
    assert store.retention.mark() == 0


def test_marks_only_grow_though_sweeps_are_forgotten(store, submit, clock):
    for _ in range(3):
        mark = store.retention.mark()
        store.retention.condemn([INPUT])
        store.retention.swept([INPUT])
        with pytest.raises(ArtifactsSwept):
            submit(mark=mark)
        clock.advance(KEPT_S)
        store.retention.forget()


def test_being_refused_can_cross_processes():
    error = pickle.loads(pickle.dumps(ArtifactsSwept({"demo/a.png"})))
    assert error.keys == {"demo/a.png"}
    assert error.status == 503


def test_holds_and_condemnations_at_once_never_both_win(engine, spec, model):
    """Each round one thread submits a job on a key while another condemns it: one of the two must be refused."""
    store = JobStore(engine)
    control = spec.controls[0]
    outcomes = []
    for n in range(25):
        key = f"demo/{n}.png"
        wanted = replace(spec, controls=(replace(control, images=(key,)),))
        barrier, held = threading.Barrier(2), []

        def submit(wanted=wanted, barrier=barrier, held=held) -> None:
            barrier.wait()
            try:
                store.submit("demo", wanted, model)
                held.append(True)
            except ArtifactsSwept:
                held.append(False)

        thread = threading.Thread(target=submit)
        thread.start()
        barrier.wait()
        condemned = store.retention.condemn([key])
        thread.join()
        outcomes.append((held[0], condemned))
    assert set(outcomes) <= {(True, 0), (False, 1)}
