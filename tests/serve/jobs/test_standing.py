"""Where a job stands among those that wait, and when it would be done."""

from __future__ import annotations


def position(store, job):
    standing = store.standing(job)
    return None if standing is None else standing.position


def test_the_oldest_waits_for_nobody(store, submit):
    jobs = [submit("red"), submit("blue"), submit("red")]
    assert [position(store, job) for job in jobs] == [0, 1, 2]


def test_a_job_moves_up_as_others_are_claimed_or_cancelled(store, submit, claim_one):
    jobs = [submit() for _ in range(4)]
    claim_one()
    store.request_cancel(jobs[1].id, "demo")
    assert [position(store, job) for job in jobs] == [None, None, 0, 1]


def test_a_job_that_is_tried_again_has_its_old_place(store, submit, claim_one):
    first, second = submit(), submit()
    store.retry(claim_one(), {"type": "internal"})
    assert (position(store, first), position(store, second)) == (0, 1)
