"""How the platform is doing, on one screen."""

from __future__ import annotations

from serve.errors import InvalidRequest, JobFailed
from serve.jobs.cost import Cost
from serve.jobs.overview import FAILED_S, MADE_S, Serving
from serve.jobs.pace import Pace
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobResult, JobStore, Lease, ServedModel, StoredImage
from tests.serve.jobs.conftest import Clock


def started(store: JobStore, spec: JobSpec, model: ServedModel) -> Lease:
    store.submit("red", spec, model, cost=Cost(4, 8.0, spec.steps, 0.1))
    (lease,) = store.claim("d", 30, 100)
    return lease


def test_of_an_empty_store_there_is_nothing(store: JobStore) -> None:
    found = store.overview()
    assert (found.serving, found.samplers, found.jobs, found.images, found.failed) == ((), 0, 0, 0, {})


def test_what_is_served_is_told_with_its_time(store: JobStore, clock: Clock, model: ServedModel) -> None:
    store.set_serving(model)
    assert store.overview().serving == (Serving("demo", "3", "sha256:aa", clock.now),)


def test_samplers_are_those_that_were_heard_of(store: JobStore, clock: Clock) -> None:
    store.paces.keep({"a": Pace(0.1, 0.1, 10.0, 16), "b": Pace(0.1, 0.1, 10.0, 16)})
    assert store.overview().samplers == 2
    clock.advance(601)
    assert store.overview().samplers == 0


def test_what_was_made_is_counted_for_a_while(store: JobStore, clock: Clock, spec: JobSpec, model: ServedModel) -> None:
    lease = started(store, spec, model)
    store.succeed(lease, JobResult(tuple(StoredImage(f"red/{i}.png", i, 8, 8) for i in range(2))))
    found = store.overview()
    assert (found.jobs, found.images, found.gflop) == (1, 2, 8.0)
    clock.advance(MADE_S + 1)
    assert store.overview().jobs == 0


def test_what_failed_is_counted_by_its_problem_for_a_while(
    store: JobStore, clock: Clock, spec: JobSpec, model: ServedModel
) -> None:
    for error in (JobFailed("no"), JobFailed("no"), InvalidRequest("no")):
        store.fail(started(store, spec, model), error.problem())
    assert store.overview().failed == {"job-failed": 2, "invalid-request": 1}
    clock.advance(FAILED_S + 1)
    assert store.overview().failed == {}
