"""The fair order in the store: turns that outlive a dispatcher, several of them, deadlines."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from serve.jobs.cost import Cost
from serve.jobs.database import durable, open_database
from serve.jobs.fairness import LEAST_GFLOP
from serve.jobs.pace import Pace
from serve.jobs.schema import tenants, turns
from serve.jobs.store import JobResult, JobStore

PRICE = Cost(rows=2, gflop=10.0, steps=20, step_gflop=0.5)
PACE = Pace(fixed=0.5, per_gflop=0.1, gflop=4.0, rows=16)  # a full batch's step takes 0.9 s
PROBLEM = {"type": "internal"}


def names(leases):
    return [lease.job.tenant for lease in leases]


def served(engine):
    with engine.connect() as connection:
        return {row.tenant: (row.served, bool(row.waiting)) for row in connection.execute(sa.select(turns))}


def declare(engine, **weights):
    rows = [{"name": name, "weight": weight, "limits": {}, "created_at": 0.0} for name, weight in weights.items()]
    with durable(engine).begin() as connection:
        connection.execute(sa.insert(tenants), rows)


def test_a_job_keeps_what_it_was_priced_at(store, submit):
    job = submit(cost=PRICE, priority="batch", deadline_s=60.0)
    assert (job.rows, job.gflop, job.priority, job.deadline) == (2, 10.0, "batch", job.created_at + 60)


def test_teams_take_turns(store, submit):
    for tenant in ("a", "a", "a", "b", "b", "b"):
        submit(tenant, cost=PRICE)
    assert names(store.claim("x", 30, 12)) == ["a", "b", "a", "b", "a", "b"]


def test_room_is_counted_in_rows(store, submit):
    for _ in range(4):
        submit(cost=PRICE)
    assert len(store.claim("x", 30, 3)) == 2


def test_a_declared_weight_is_a_share(store, engine, submit):
    declare(engine, a=2.0)
    for tenant in "ab" * 6:
        submit(tenant, cost=PRICE)
    assert names(store.claim("x", 30, 12)).count("a") == 4


def test_turns_go_on_where_the_last_claim_ended(store, submit):
    for tenant in ("a", "a", "a", "b", "b", "b"):
        submit(tenant, cost=PRICE)
    assert [names(store.claim("x", 30, 1)) for _ in range(6)] == [["a"], ["b"], ["a"], ["b"], ["a"], ["b"]]


def test_turns_go_on_after_years_of_work(store, engine, submit):
    """So much that a float does not hold the least charge beside it."""
    with durable(engine).begin() as connection:
        rows = [{"tenant": tenant, "served": 2e13, "waiting": True} for tenant in "ab"]
        connection.execute(sa.insert(turns), [*rows, {"tenant": "idle", "served": 1e13, "waiting": False}])
    for tenant in ("a", "a", "a", "b", "b", "b"):
        submit(tenant)
    assert [names(store.claim("x", 30, 1)) for _ in range(4)] == [["a"], ["b"], ["a"], ["b"]]
    assert served(engine) == {"a": (2 * LEAST_GFLOP, True), "b": (2 * LEAST_GFLOP, True), "idle": (0.0, False)}


def test_interactive_jobs_start_before_batch_jobs_of_their_team_alone(store, submit):
    for tenant, priority in (("a", "batch"), ("a", "interactive"), ("b", "batch")):
        submit(tenant, cost=PRICE, priority=priority)
    claimed = [(lease.job.tenant, lease.job.priority) for lease in store.claim("x", 30, 6)]
    assert claimed == [("a", "interactive"), ("b", "batch"), ("a", "batch")]


def test_a_batch_job_starts_however_many_interactive_ones_come(store, submit):
    """Whoever claims, and whatever was claimed at once."""
    waiting = submit(cost=PRICE, priority="batch")
    started = []
    for owner in "xyxyxyxyxy":
        submit(cost=PRICE)
        started += store.claim(owner, 600, 1)
    assert [lease.job.id == waiting.id for lease in started] == [False] * 9 + [True]


def test_a_start_is_charged_by_weight(store, engine, submit, claim_one):
    declare(engine, demo=4.0)
    submit(cost=PRICE)
    claim_one()
    assert served(engine) == {"demo": (2.5, False)}


def test_another_attempt_is_not_charged(store, engine, submit, claim_one):
    submit(cost=PRICE)
    store.retry(claim_one(), PROBLEM)
    claim_one()
    assert served(engine) == {"demo": (10.0, False)}


def test_another_attempt_has_its_old_place(store, submit, claim_one):
    first = submit(cost=PRICE)
    submit(cost=PRICE)
    store.retry(claim_one(), PROBLEM)
    assert claim_one().job.id == first.id


def test_a_cancelled_job_is_not_charged(store, engine, submit):
    job = submit(cost=PRICE)
    store.request_cancel(job.id, "demo")
    submit(cost=PRICE)
    store.claim("x", 30, 10)
    assert served(engine) == {"demo": (10.0, False)}


def test_what_was_made_is_counted_at_its_price(store, submit, claim_one):
    submit(cost=PRICE)
    store.succeed(claim_one(), JobResult(()))
    (used,) = store.usage.between("demo", 0, 1e10)
    assert used.gflop == 10.0


def test_several_dispatchers_start_each_job_once_and_charge_it_once(store, engine, database_url, spec, model):
    for number in range(60):
        store.submit("abc"[number % 3], spec, model, cost=PRICE)
    found: list[str] = []

    def work(owner: str) -> None:
        mine = open_database(database_url)
        dispatcher = JobStore(mine, store._clock)
        while leases := dispatcher.claim(owner, 600, 3):
            found.extend(lease.job.id for lease in leases)
        mine.dispose()

    threads = [threading.Thread(target=work, args=(owner,)) for owner in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(set(found)) == 60
    assert served(engine) == dict.fromkeys("abc", (200.0, False))


# Without a sampler

MAP = Cost(gflop=0.5)  # takes no rows


def test_without_a_sampler_only_what_needs_none_is_started(store, submit):
    submit(cost=PRICE)
    job = submit(cost=MAP)
    submit(cost=PRICE)
    assert [lease.job.id for lease in store.claim("x", 30, 12, images=False)] == [job.id]


def test_a_job_of_before_there_were_prices_waits_for_a_sampler_too(store, submit):
    job = submit()
    assert store.claim("x", 30, 12, images=False) == []
    assert store.waiting().jobs == 1
    assert [lease.job.id for lease in store.claim("x", 30, 12)] == [job.id]


def test_a_map_is_found_behind_any_number_of_images(store, submit):
    for _ in range(9):
        submit(cost=PRICE)
    job = submit(cost=MAP)
    assert [lease.job.id for lease in store.claim("x", 30, 1, images=False)] == [job.id]


def test_images_that_waited_for_a_sampler_start_in_the_fair_order(store, submit):
    for tenant in ("a", "a", "a", "b", "b", "b"):
        submit(tenant, cost=PRICE)
    assert store.claim("x", 30, 12, images=False) == []
    assert names(store.claim("x", 30, 12)) == ["a", "b", "a", "b", "a", "b"]


def test_waiting_for_a_sampler_costs_no_turn(store, engine, submit):
    for tenant in ("a", "b", "b", "b", "b"):
        submit(tenant, cost=PRICE)
    assert names(store.claim("x", 30, 5)) == ["a", "b", "b"]  # b is served 20 now, and has work left
    for tenant in ("a", "a"):
        submit(tenant, cost=PRICE)
    assert names(store.claim("x", 30, 1)) == ["a"]
    before = served(engine)
    submit("c", cost=MAP)
    assert names(store.claim("x", 30, 4, images=False)) == ["c"]
    assert {tenant: served(engine)[tenant] for tenant in "ab"} == {tenant: before[tenant] for tenant in "ab"}


def test_nothing_is_written_while_only_images_wait_for_a_sampler(store, engine, submit):
    submit(cost=PRICE)
    assert store.claim("x", 30, 4, images=False) == []
    assert served(engine) == {}


def test_an_attempt_whose_worker_went_waits_for_a_sampler_too(store, submit, claim_one, clock):
    submit(cost=PRICE)
    lease = claim_one()
    clock.advance(31)
    assert store.claim("x", 30, 4, images=False) == []
    assert store.get(lease.job.id).state == "queued"


def test_a_late_job_that_waits_for_a_sampler_is_ended(store, submit, clock):
    job = submit(cost=PRICE, deadline_s=10.0)
    clock.advance(10)
    store.end_late()
    assert store.get(job.id).state == "failed"


# Deadlines


def test_a_job_that_waited_past_its_deadline_is_ended_and_not_charged(store, engine, submit, clock):
    job = submit(cost=PRICE, deadline_s=10.0, webhook="https://example.test/hook")
    clock.advance(10)
    assert store.claim("x", 30, 4) == []
    missed = store.get(job.id)
    assert (missed.state, missed.attempt, missed.error["type"]) == ("failed", 0, "deadline-missed")
    assert [event.kind for event in store.events(job.id)] == ["queued", "failed"]
    assert [delivery.job_id for delivery in store.deliveries.claim(30, 1)] == [job.id]
    assert served(engine) == {}


def test_a_late_job_is_ended_without_a_claim_too(store, submit, clock):
    job, other = submit(deadline_s=10.0), submit()
    clock.advance(20)
    store.end_late()
    assert (store.get(job.id).state, store.get(other.id).state) == ("failed", "queued")


def test_a_job_that_would_be_late_is_not_started_and_the_next_one_is(store, submit):
    store.paces.keep({"sampler": PACE})
    hopeless = submit(cost=PRICE, deadline_s=5.0)  # it takes 11 s when it is alone
    job = submit(cost=PRICE, deadline_s=60.0)
    assert [lease.job.id for lease in store.claim("x", 30, 1)] == [job.id]
    assert store.get(hopeless.id).error["type"] == "deadline-missed"


def test_without_a_pace_a_job_is_started_as_long_as_its_deadline_lasts(store, submit):
    job = submit(cost=PRICE, deadline_s=0.5)
    assert [lease.job.id for lease in store.claim("x", 30, 1)] == [job.id]


def test_a_started_job_may_go_on_past_its_deadline(store, submit, claim_one, clock):
    submit(deadline_s=10.0)
    lease = claim_one(lease_s=1000)
    clock.advance(100)
    store.end_late()
    store.succeed(lease, JobResult(()))
    assert store.get(lease.job.id).state == "succeeded"


def test_a_job_that_was_started_in_time_is_not_late_whatever_became_of_its_worker(store, submit, clock):
    store.paces.keep({"sampler": PACE})
    job = submit(cost=PRICE, deadline_s=20.0)
    store.claim("x", 30, 1)
    clock.advance(31)  # x is dead
    (lease,) = store.claim("y", 30, 1)
    store.give_back([lease], "y was stopped.")
    store.end_late()
    assert [lease.job.id for lease in store.claim("z", 30, 1)] == [job.id]


# Paces and predictions


def test_paces_are_those_of_samplers_that_were_heard_of_lately(store, clock):
    store.paces.keep({"old": PACE})
    clock.advance(400)
    new = replace(PACE, fixed=0.25)
    store.paces.keep({"new": new})
    clock.advance(400)
    assert store.paces.current() == [new]


def test_what_was_measured_last_is_known_when_no_sampler_is_left(store, clock):
    assert store.paces.last() is None
    store.paces.keep({"a": PACE})
    clock.advance(1)
    store.paces.keep({"b": replace(PACE, rows=8)})
    clock.advance(100_000)
    assert store.paces.last() == replace(PACE, rows=8)


def test_a_sampler_has_one_pace(store):
    store.paces.keep({"sampler": PACE})
    store.paces.keep({"sampler": replace(PACE, rows=8)})
    assert store.paces.current() == [replace(PACE, rows=8)]


def test_without_a_pace_nothing_is_predicted(store):
    outlook = store.outlook("demo", "interactive", PRICE)
    assert (outlook.position, outlook.predicted_s, outlook.alone_s) == (0, None, None)


def test_an_idle_platform_is_predicted_to_take_the_jobs_own_time(store):
    store.paces.keep({"sampler": PACE})
    outlook = store.outlook("demo", "interactive", PRICE)
    assert outlook.predicted_s == outlook.alone_s == pytest.approx(21 * (0.5 + 0.1 * 0.5))


def test_another_teams_queue_delays_only_by_its_share(store, submit):
    store.paces.keep({"sampler": PACE})
    for _ in range(40):
        submit("heavy", cost=PRICE)
    store.claim("x", 600, 16)
    mine, theirs = (store.outlook(tenant, "interactive", PRICE) for tenant in ("light", "heavy"))
    assert mine.position <= 1
    assert theirs.position == 32
    assert mine.predicted_s < theirs.predicted_s / 2


def test_a_batch_job_stands_behind_its_teams_interactive_ones(store, submit):
    for priority in ("interactive", "batch"):
        submit(cost=PRICE, priority=priority)
    positions = [store.outlook("demo", priority, PRICE).position for priority in ("interactive", "batch")]
    assert positions == [1, 2]


def test_a_jobs_position_is_its_place_among_its_teams_starts(store, submit):
    for _ in range(4):
        submit(cost=PRICE)
    jobs = [submit(cost=PRICE, priority="batch") for _ in range(3)]
    store.claim("x", 600, 4)  # two of those that overtake
    jobs += [submit(cost=PRICE) for _ in range(20)]
    left = [job for job in (store.get(job.id) for job in jobs) if job.state == "queued"]
    places = [store.standing(job).position for job in left]
    outlooks = [store.outlook("demo", priority, PRICE).position for priority in ("interactive", "batch")]
    order = [lease.job.id for lease in store.claim("x", 600, 100)]
    assert places == [order.index(job.id) for job in left]
    assert outlooks == [24, 25]


def test_a_waiting_job_is_predicted_as_it_was_when_it_came(store, submit):
    store.paces.keep({"sampler": PACE})
    for _ in range(12):
        submit(cost=PRICE)
    outlook = store.outlook("demo", "interactive", PRICE)
    standing = store.standing(submit(cost=PRICE))
    assert (standing.position, standing.predicted_s) == (outlook.position, pytest.approx(outlook.predicted_s))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL's planner decides by statistics
def test_the_queue_is_read_from_the_index_alone(engine, store, submit):
    """Ten thousand waiting jobs are added up in two milliseconds, if their rows are left alone."""
    submit()
    query = (
        "SELECT tenant, priority, count(*), sum(rows), sum(gflop), min(created_at) FROM jobs "
        "WHERE state = 'queued' GROUP BY tenant, priority"
    )
    with engine.connect() as connection:
        (step,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert "COVERING INDEX jobs_by_turn" in step[-1]
