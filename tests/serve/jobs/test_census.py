"""How all that waits and runs stands."""

from __future__ import annotations

from serve.jobs.census import Waiting
from serve.jobs.cost import Cost
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore, ModelVersion
from tests.serve.jobs.conftest import Clock

MODEL = ModelVersion("demo", "1", "sha256:aa")


def submit(store: JobStore, spec: JobSpec, tenant: str) -> str:
    return store.submit(tenant, spec, MODEL, cost=Cost(4, 8.0, spec.steps, 0.1)).id


def test_of_an_empty_store_there_is_nothing(store: JobStore) -> None:
    census = store.census()
    assert (census.queued, census.running, census.oldest, census.oldest_s, census.overdue) == ({}, {}, None, 0.0, 0)


def test_what_waits_is_counted_by_tenant(store: JobStore, clock: Clock, spec: JobSpec) -> None:
    first = submit(store, spec, "red")
    clock.advance(3)
    submit(store, spec, "blue")
    submit(store, spec, "blue")
    clock.advance(4)
    census = store.census()
    assert {tenant: (waiting.jobs, waiting.gflop) for tenant, waiting in census.queued.items()} == {
        "red": (1, 8.0),
        "blue": (2, 16.0),
    }
    assert (census.oldest, census.oldest_s) == (first, 7.0)


def test_what_runs_is_overdue_when_its_lease_has_run_out(store: JobStore, clock: Clock, spec: JobSpec) -> None:
    submit(store, spec, "red")
    store.claim("d", 30, 100)
    assert (store.census().running, store.census().overdue) == ({"red": 1}, 0)
    clock.advance(31)
    assert store.census().overdue == 1


def test_what_waits_is_counted_by_what_it_waits_for(store: JobStore, spec: JobSpec) -> None:
    assert store.waiting() == Waiting(0, 0.0, 0)
    for _ in range(3):
        submit(store, spec, "red")
    store.claim("d", 30, 1)
    store.submit("blue", spec, MODEL, cost=Cost(gflop=0.5))
    assert store.waiting() == Waiting(jobs=2, gflop=16.0, maps=1)
