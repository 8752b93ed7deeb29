from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from serve.jobs.schema import usage
from serve.jobs.store import JobResult, LeaseLost, StoredImage
from serve.jobs.usage import Used

DAY_S = 86_400


@pytest.fixture
def make(store, spec, model, clock):
    """Submit a job, carry it to its success."""

    def make(tenant="demo", steps=20, model=model, seconds=2.5):
        store.submit(tenant, replace(spec, steps=steps), model)
        (lease,) = store.claim("a", 30, 1)
        images = tuple(StoredImage(f"demo/aa/{seed}.png", seed, 256, 192) for seed in spec.seeds)
        store.succeed(lease, JobResult(images, timings={"sampling": seconds}))
        return lease

    return make


def test_a_job_that_succeeds_is_counted(store, make):
    make()
    assert store.usage.between("demo", 0, 1e10) == [
        Used("1970-01-01", "demo", jobs=1, images=2, steps=40, pixels=2 * 256 * 192, gpu_seconds=2.5, gflop=0.0)
    ]


@pytest.mark.parametrize("end", ["fail", "retry", "cancelled"])
def test_a_job_that_ends_otherwise_is_not(store, submit, claim_one, end):
    submit()
    arguments = [] if end == "cancelled" else [{"type": "internal"}]
    getattr(store, end)(claim_one(), *arguments)
    assert store.usage.between("demo", 0, 1e10) == []


def test_a_success_that_is_written_twice_counts_once(store, make, engine):
    lease = make()
    with pytest.raises(LeaseLost):
        store.succeed(lease, JobResult(()))
    with engine.connect() as connection:
        assert connection.scalars(sa.select(usage.c.job_id)).all() == [lease.job.id]


def test_days_and_models_are_apart_and_in_order(store, make, model, clock):
    make(steps=10)
    make(steps=5)
    make(model=replace(model, name="another"))
    clock.advance(DAY_S)
    make()
    found = store.usage.between("demo", 0, 1e10)
    assert [(used.day, used.model, used.jobs, used.steps) for used in found] == [
        ("1970-01-01", "another", 1, 40),
        ("1970-01-01", "demo", 2, 30),
        ("1970-01-02", "demo", 1, 40),
    ]


def test_tenants_are_apart(store, make):
    make("red")
    make("blue")
    make("blue")
    assert [store.usage.between(tenant, 0, 1e10)[0].jobs for tenant in ("red", "blue")] == [1, 2]


def test_the_end_of_a_span_is_not_in_it(store, make, clock):
    make()
    assert store.usage.between("demo", clock.now, clock.now + 1) != []
    assert store.usage.between("demo", clock.now - 1, clock.now) == []


def test_usage_outlives_the_result(store, make, clock):
    make()
    clock.advance(30 * DAY_S)
    assert store.retention.expire() == 1
    assert store.usage.between("demo", 0, 1e10)[0].jobs == 1
