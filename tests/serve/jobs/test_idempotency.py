from __future__ import annotations

import threading

import pytest

from serve.errors import Conflict, InvalidRequest
from serve.jobs.idempotency import KEPT_S, RESERVED_S, Reservation


def test_a_new_key_is_reserved_and_names_the_job_it_is_submitted_with(store, submit):
    reservation = store.idempotency.reserve("demo", "k", "body")
    job = submit(reservation=reservation)
    assert store.get(job.id).idempotency_key == "k"
    assert store.idempotency.reserve("demo", "k", "body") == job.id


def test_a_job_without_a_key_has_none(submit):
    assert submit().idempotency_key is None


def test_the_same_request_is_told_to_wait_until_the_job_is_there(store):
    store.idempotency.reserve("demo", "k", "body")
    with pytest.raises(Conflict) as refused:
        store.idempotency.reserve("demo", "k", "body")
    assert refused.value.retry_after_s == 1


def test_another_body_is_refused_before_and_after_the_job_is_there(store, submit):
    reservation = store.idempotency.reserve("demo", "k", "body")
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="another request") as refused:
            store.idempotency.reserve("demo", "k", "other body")
        assert refused.value.field == "Idempotency-Key"
        if reservation is not None:
            submit(reservation=reservation)
            reservation = None


def test_each_tenant_has_keys_of_its_own(store):
    assert isinstance(store.idempotency.reserve("blue", "k", "body"), Reservation)
    assert isinstance(store.idempotency.reserve("red", "k", "other body"), Reservation)


def test_a_key_that_was_given_back_is_free(store):
    store.idempotency.release(store.idempotency.reserve("demo", "k", "body"))
    assert isinstance(store.idempotency.reserve("demo", "k", "other body"), Reservation)


def test_a_key_with_a_job_cannot_be_given_back(store, submit):
    reservation = store.idempotency.reserve("demo", "k", "body")
    job = submit(reservation=reservation)
    store.idempotency.release(reservation)
    assert store.idempotency.reserve("demo", "k", "body") == job.id


def test_a_reservation_whose_api_died_is_free_after_a_minute(store, clock):
    store.idempotency.reserve("demo", "k", "body")
    clock.advance(RESERVED_S)
    assert isinstance(store.idempotency.reserve("demo", "k", "other body"), Reservation)


def test_who_comes_too_late_submits_nothing(store, submit, clock):
    late = store.idempotency.reserve("demo", "k", "body")
    clock.advance(RESERVED_S)
    job = submit(reservation=store.idempotency.reserve("demo", "k", "body"))
    with pytest.raises(Conflict):
        submit(reservation=late)
    assert [found.id for found in store.page("demo").jobs] == [job.id]
    assert store.idempotency.reserve("demo", "k", "body") == job.id


def test_a_late_reservation_that_nobody_took_over_still_holds(store, submit, clock):
    late = store.idempotency.reserve("demo", "k", "body")
    clock.advance(RESERVED_S)
    job = submit(reservation=late)
    assert store.idempotency.reserve("demo", "k", "body") == job.id


def test_a_reservation_submits_one_job(store, submit):
    reservation = store.idempotency.reserve("demo", "k", "body")
    submit(reservation=reservation)
    with pytest.raises(Conflict):
        submit(reservation=reservation)
    assert store.counts()["queued"] == 1


def test_a_key_names_its_job_for_a_day(store, submit, clock):
    job = submit(reservation=store.idempotency.reserve("demo", "k", "body"))
    clock.advance(KEPT_S - 1)
    assert store.idempotency.reserve("demo", "k", "body") == job.id
    clock.advance(1)
    assert isinstance(store.idempotency.reserve("demo", "k", "body"), Reservation)


def test_keys_are_forgotten_when_their_time_is_over(store, submit, clock):
    submit(reservation=store.idempotency.reserve("demo", "old", "body"))
    clock.advance(KEPT_S)
    job = submit(reservation=store.idempotency.reserve("demo", "new", "body"))
    store.retention.forget()
    assert store.idempotency.reserve("demo", "new", "body") == job.id
    assert isinstance(store.idempotency.reserve("demo", "old", "other body"), Reservation)


def test_of_many_at_once_one_goes_on(store):
    barrier, outcomes = threading.Barrier(8), []

    def reserve() -> None:
        barrier.wait()
        try:
            outcomes.append(store.idempotency.reserve("demo", "k", "body"))
        except Conflict as refused:
            outcomes.append(refused)

    threads = [threading.Thread(target=reserve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Reservation) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7
