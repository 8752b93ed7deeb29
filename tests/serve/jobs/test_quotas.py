"""What a team may take: requests a minute, jobs that wait, images and work a day; on both databases."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from serve.errors import InvalidRequest, QuotaExceeded
from serve.jobs.cost import Cost
from serve.jobs.database import open_database
from serve.jobs.quotas import DAY_S, MINUTE_S, Quota, to_midnight
from serve.jobs.store import JobStore

COST = Cost(rows=4, gflop=10.0)


# Requests a minute


def test_a_whole_minutes_requests_may_come_at_once_and_no_more(store):
    left = [store.rates.take("demo", 3).left for _ in range(3)]
    assert left == [2, 1, 0]
    with pytest.raises(QuotaExceeded, match="3 requests a minute") as refused:
        store.rates.take("demo", 3)
    assert refused.value.retry_after_s == pytest.approx(20)


def test_what_is_refused_is_not_counted(store, clock):
    for _ in range(3):
        store.rates.take("demo", 3)
    for _ in range(5):
        with pytest.raises(QuotaExceeded):
            store.rates.take("demo", 3)
    clock.advance(20)
    assert store.rates.take("demo", 3).left == 0


def test_requests_come_back_one_by_one(store, clock):
    for _ in range(3):
        store.rates.take("demo", 3)
    clock.advance(MINUTE_S)
    assert store.rates.take("demo", 3).left == 2


def test_teams_have_rates_of_their_own(store):
    store.rates.take("demo", 1)
    assert store.rates.take("other", 1).left == 0


def test_a_new_rate_holds_from_the_next_request(store, clock):
    for _ in range(60):
        store.rates.take("demo", 60)
    clock.advance(30)
    with pytest.raises(QuotaExceeded):
        store.rates.take("demo", 1)


def test_of_many_requests_at_once_so_many_pass_as_may(store):
    passed = []

    def ask() -> None:
        for _ in range(10):
            with contextlib.suppress(QuotaExceeded):
                passed.append(store.rates.take("demo", 25).left)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == list(range(25))


# What jobs take


def submit(store, spec, model, quota, n=1, cost=COST, tenant="demo"):
    return store.submit(tenant, replace(spec, seeds=tuple(range(n))), model, cost=cost, quota=quota)


def rows(store, tenant="demo"):
    return len(store.page(tenant).jobs)


def test_images_of_a_day_are_counted_and_the_one_too_many_leaves_no_row(store, spec, model, clock):
    quota = Quota(images_per_day=5)
    submit(store, spec, model, quota, n=4)
    with pytest.raises(QuotaExceeded, match=r"5 images a day \(UTC\), 4 are") as refused:
        submit(store, spec, model, quota, n=2)
    assert refused.value.retry_after_s == to_midnight(clock())
    assert rows(store) == 1
    assert [(a.name, a.left) for a in store.spent.left("demo", quota)] == [("images", 1)]
    submit(store, spec, model, quota, n=1)


def test_work_of_a_day_is_counted(store, spec, model):
    quota = Quota(gflop_per_day=25)
    submit(store, spec, model, quota)
    submit(store, spec, model, quota)
    with pytest.raises(QuotaExceeded, match="25 GFLOP a day"):
        submit(store, spec, model, quota)


@pytest.mark.parametrize(
    ("quota", "field", "bound"),
    [(Quota(images_per_day=1), "n", "2 images: your team may use 1"), (Quota(gflop_per_day=9), "steps", "may use 9 a")],
)
def test_a_job_that_no_day_could_hold_is_the_requests_fault(store, spec, model, quota, field, bound):
    with pytest.raises(InvalidRequest, match=bound) as refused:
        submit(store, spec, model, quota, n=2)
    assert refused.value.field == field
    assert rows(store) == 0


def test_the_next_day_starts_anew(store, spec, model, clock):
    quota = Quota(images_per_day=1)
    submit(store, spec, model, quota)
    clock.advance(DAY_S)
    submit(store, spec, model, quota)


def test_waiting_jobs_are_bounded_and_started_ones_are_not_among_them(store, spec, model):
    quota = Quota(queued_jobs=2)
    submit(store, spec, model, quota)
    submit(store, spec, model, quota)
    with pytest.raises(QuotaExceeded, match="2 jobs of your team wait"):
        submit(store, spec, model, quota)
    store.claim("a", 30, 1)
    submit(store, spec, model, quota)


def test_another_team_is_not_affected(store, spec, model):
    quota = Quota(queued_jobs=1, images_per_day=1, gflop_per_day=10)
    submit(store, spec, model, quota)
    submit(store, spec, model, quota, tenant="other")


def test_a_quota_holds_for_many_submissions_at_once(store, spec, model):
    quota, accepted = Quota(images_per_day=7, queued_jobs=100), []

    def ask() -> None:
        for _ in range(3):
            with contextlib.suppress(QuotaExceeded):
                accepted.append(submit(store, spec, model, quota))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == rows(store) == 7


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_jobs_that_wait_are_bounded_over_midnight(store, engine, spec, model, clock, until_blocked):
    """One submission of the day before is about to commit when one of the next day counts."""
    quota, sent, go = Quota(queued_jobs=1), threading.Event(), threading.Event()
    outcomes = {}

    def before_commit(_connection: object) -> None:
        sent.set()
        go.wait()

    def ask(name: str, asked: JobStore, now: float) -> threading.Thread:
        def run() -> None:
            try:
                outcomes[name] = submit(asked, spec, model, quota).state
            except QuotaExceeded:
                outcomes[name] = "refused"

        clock.now = now
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    other = open_database(engine.url.render_as_string(hide_password=False))
    sa.event.listen(other, "commit", before_commit)
    first = ask("first", JobStore(other, clock), 10 * DAY_S - 1)
    sent.wait()
    second = ask("second", store, 10 * DAY_S + 1)
    until_blocked(second)
    go.set()
    first.join()
    second.join()
    other.dispose()
    assert outcomes == {"first": "queued", "second": "refused"}


def test_what_was_cancelled_before_it_started_is_given_back(store, spec, model):
    quota = Quota(images_per_day=2)
    store.request_cancel(submit(store, spec, model, quota, n=2).id, "demo")
    assert store.spent.left("demo", quota)[0].left == 2


def test_what_was_cancelled_later_is_not(store, spec, model):
    quota = Quota(images_per_day=2)
    submit(store, spec, model, quota, n=2)
    (lease,) = store.claim("a", 30, 1)
    store.cancelled(lease)
    assert store.spent.left("demo", quota)[0].left == 0


def test_what_failed_is_given_back_to_the_day_it_came_on(store, spec, model, clock):
    quota = Quota(images_per_day=2)
    submit(store, spec, model, quota, n=2)
    (lease,) = store.claim("a", 2 * DAY_S, 1)
    clock.advance(DAY_S)
    submit(store, spec, model, quota, n=1)
    store.fail(lease, {"type": "x"})
    assert store.spent.left("demo", quota)[0].left == 1
    clock.advance(-DAY_S)
    assert store.spent.left("demo", quota)[0].left == 2


def test_a_team_without_limits_is_told_of_none(store, spec, model):
    submit(store, spec, model, Quota())
    assert store.spent.left("demo", Quota()) == []


def test_a_result_is_kept_as_long_as_its_team_may_keep_it(store, spec, model, clock):
    job = store.submit("demo", spec, model, retention_s=60.0)
    store.request_cancel(job.id, "demo")
    assert store.get(job.id).expires_at == clock() + 60
