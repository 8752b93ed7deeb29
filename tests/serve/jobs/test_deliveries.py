from __future__ import annotations

import threading
from collections import Counter

import pytest

from serve.jobs.deliveries import MOST_ATTEMPTS
from serve.jobs.store import JobResult

URL = "https://example.test/hook"
PROBLEM = {"type": "internal"}

ENDS = {
    "succeeded": lambda store, lease: store.succeed(lease, JobResult(())),
    "failed": lambda store, lease: store.fail(lease, PROBLEM),
    "cancelled": lambda store, lease: store.cancelled(lease),
}


@pytest.fixture
def ended(store, submit, claim_one):
    """A job with a webhook that came to its end."""

    def ended():
        job = submit(webhook=URL)
        ENDS["succeeded"](store, claim_one())
        return job

    return ended


@pytest.mark.parametrize("end", ENDS)
def test_the_end_of_a_job_is_to_be_told_once(store, submit, claim_one, end):
    job = submit(webhook=URL)
    assert store.deliveries.of(job.id) is None
    ENDS[end](store, claim_one())
    (delivery,) = store.deliveries.claim(30, 10)
    assert (delivery.job_id, delivery.tenant, delivery.url, delivery.attempt) == (job.id, "demo", URL, 0)
    assert store.deliveries.claim(30, 10) == []


def test_so_is_a_job_cancelled_in_the_queue(store, submit):
    job = submit(webhook=URL)
    store.request_cancel(job.id, "demo")
    assert store.deliveries.of(job.id).state == "pending"


def test_so_is_a_job_set_aside_because_its_workers_died(store, submit, claim_one, clock):
    job = submit(webhook=URL)
    store.died(claim_one(), "It died.")
    for _ in range(3):
        clock.advance(60)
        store.died(store.claim_suspect("a", 30), "It died.", counts=True)
    assert store.deliveries.of(job.id).state == "pending"


def test_a_job_that_is_tried_again_is_not_told_of(store, submit, claim_one):
    job = submit(webhook=URL)
    store.retry(claim_one(), PROBLEM)
    assert store.deliveries.of(job.id) is None


def test_a_job_without_a_webhook_tells_nobody(store, submit, claim_one):
    job = submit()
    ENDS["succeeded"](store, claim_one())
    assert store.deliveries.of(job.id) is None
    assert store.deliveries.next_due() is None


def test_a_delivery_that_was_made_is_over(store, ended, clock):
    job = ended()
    (delivery,) = store.deliveries.claim(30, 1)
    assert store.deliveries.delivered(delivery)
    assert store.deliveries.next_due() is None
    clock.advance(1_000)
    assert store.deliveries.claim(30, 1) == []
    assert (store.deliveries.of(job.id).state, store.deliveries.of(job.id).attempt) == ("delivered", 1)


def test_a_delivery_that_failed_is_due_again_when_it_is_said(store, ended, clock):
    job = ended()
    (delivery,) = store.deliveries.claim(30, 1)
    assert store.deliveries.failed(delivery, "503", clock.now + 60)
    assert store.deliveries.of(job.id).problem == "503"
    assert store.deliveries.next_due() == clock.now + 60
    clock.advance(59)
    assert store.deliveries.claim(30, 1) == []
    clock.advance(1)
    (again,) = store.deliveries.claim(30, 1)
    assert (again.id, again.attempt) == (delivery.id, 1)


def test_a_delivery_whose_sender_died_is_made_again_under_the_same_id(store, ended, clock):
    ended()
    (first,) = store.deliveries.claim(30, 1)
    clock.advance(30)
    (second,) = store.deliveries.claim(30, 1)
    assert (second.id, second.attempt) == (first.id, 0)


def test_a_sender_that_is_too_late_records_nothing(store, ended, clock):
    job = ended()
    (late,) = store.deliveries.claim(30, 1)
    clock.advance(30)
    (current,) = store.deliveries.claim(30, 1)
    assert not store.deliveries.delivered(late)
    assert not store.deliveries.failed(late, "503", clock.now)
    assert store.deliveries.of(job.id) == current
    assert store.deliveries.delivered(current)
    assert not store.deliveries.delivered(current)


def test_the_last_failure_sets_it_aside(store, ended, clock):
    job = ended()
    for attempt in range(1, MOST_ATTEMPTS + 1):
        (delivery,) = store.deliveries.claim(30, 1)
        assert delivery.attempt == attempt - 1
        assert store.deliveries.failed(delivery, f"refused {attempt}", clock.now)
    assert store.deliveries.claim(30, 1) == []
    final = store.deliveries.of(job.id)
    assert (final.state, final.problem, final.due_at) == ("abandoned", f"refused {MOST_ATTEMPTS}", None)


def test_senders_that_die_cost_a_delivery_no_attempt(store, ended, clock):
    """Whether one called is not known, and each is called at least once."""
    job = ended()
    for _ in range(MOST_ATTEMPTS + 1):
        assert len(store.deliveries.claim(30, 1)) == 1
        clock.advance(30)
    (delivery,) = store.deliveries.claim(30, 1)
    assert (delivery.state, delivery.attempt) == ("pending", 0)
    assert store.deliveries.delivered(delivery)
    assert store.deliveries.of(job.id).attempt == 1


def test_what_was_sent_is_kept_for_the_next_attempt_until_it_is_over(store, ended, clock):
    job = ended()
    (delivery,) = store.deliveries.claim(30, 1)
    assert delivery.body is None
    store.deliveries.failed(delivery, "503", clock.now, '{"id":"x"}')
    (delivery,) = store.deliveries.claim(30, 1)
    assert delivery.body == '{"id":"x"}'
    store.deliveries.delivered(delivery)
    assert store.deliveries.of(job.id).body is None


@pytest.fixture
def teams(store, submit, claim_one):
    """Jobs of teams, by their letters, that ended one after the other."""

    def teams(letters):
        for letter in letters:
            submit(letter, webhook=URL)
            ENDS["succeeded"](store, claim_one())

    return teams


def test_teams_take_turns(store, teams):
    teams("aaaaabb")
    assert Counter(delivery.tenant for delivery in store.deliveries.claim(30, 4)) == {"a": 2, "b": 2}


def test_a_team_with_few_calls_under_way_comes_first(store, teams):
    teams("aab")
    assert [delivery.tenant for delivery in store.deliveries.claim(30, 1, {"a": 1, "c": 5})] == ["b"]


@pytest.mark.parametrize(("under_way", "more"), [(0, 3), (2, 1), (3, 0)])
def test_no_team_has_more_than_its_bound_under_way(store, teams, under_way, more):
    teams("aaaaab")
    claimed = store.deliveries.claim(30, 10, {"a": under_way}, 3)
    assert Counter(delivery.tenant for delivery in claimed) == Counter(a=more, b=1)


def test_a_claim_takes_those_that_are_due_longest(store, ended, clock):
    jobs = [ended() for _ in range(4)]
    assert [delivery.job_id for delivery in store.deliveries.claim(30, 3)] == [job.id for job in jobs[:3]]
    assert [delivery.job_id for delivery in store.deliveries.claim(30, 3)] == [jobs[3].id]


def test_senders_share_the_work_without_losing_or_doubling_any(store, ended):
    jobs = {ended().id for _ in range(20)}
    made: list[str] = []

    def send() -> None:
        while deliveries := store.deliveries.claim(600, 3):
            for delivery in deliveries:
                made.append(delivery.job_id)
                assert store.deliveries.delivered(delivery)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 20
    assert set(made) == jobs
