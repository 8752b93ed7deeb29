"""The policy on numbers alone."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serve.jobs.fairness import (
    LARGE_GFLOP,
    LEAST_GFLOP,
    MOST_OVERTAKEN,
    Backlog,
    Head,
    Queue,
    Turn,
    ahead,
    charge,
    others_before,
    plan,
)


def line(tenant, *gflops, rows=2, since=0.0):
    return [Head(f"{tenant}{i}", tenant, since + i, rows, gflop) for i, gflop in enumerate(gflops)]


def ids(planned):
    return [head.id for head in planned.started]


def test_one_teams_jobs_start_in_their_order():
    assert ids(plan(Queue(), {"a": line("a", 3, 1, 2)}, 100)) == ["a0", "a1", "a2"]


def test_jobs_start_while_there_is_room_and_the_last_may_need_more():
    assert ids(plan(Queue(), {"a": line("a", 1, 1, 1, rows=3)}, 4)) == ["a0", "a1"]


def test_jobs_without_rows_take_room_too():
    assert ids(plan(Queue(), {"a": line("a", 1, 1, 1, rows=0)}, 2)) == ["a0", "a1"]


def test_teams_take_turns_by_work_and_not_by_jobs():
    started = ids(plan(Queue(), {"a": line("a", 4, 4), "b": line("b", 1, 1, 1, 1, 1)}, 12))
    assert started == ["b0", "b1", "b2", "a0", "b3", "b4"]


def test_a_weight_is_a_share():
    heads = {"a": line("a", *[1.0] * 9), "b": line("b", *[1.0] * 9)}
    started = plan(Queue(weights={"a": 2.0}), heads, 12).started
    assert sum(head.tenant == "a" for head in started) == 4


def test_who_was_served_more_waits():
    turns = {"a": Turn(10, waiting=True), "b": Turn(7, waiting=True)}
    started = ids(plan(Queue(turns), {"a": line("a", 1), "b": line("b", 1, 1, 1, 1)}, 8))
    assert started == ["b0", "b1", "b2", "a0"]


def test_idleness_is_no_credit():
    turns = {"busy": Turn(1000, waiting=True), "back": Turn(0)}
    started = ids(plan(Queue(turns), {"busy": line("busy", *[1] * 6), "back": line("back", *[1] * 6, since=50)}, 12))
    assert started == ["busy0", "back0", "busy1", "back1", "busy2", "back2"]


def test_idleness_is_no_debt():
    turns = {"busy": Turn(10, waiting=True), "back": Turn(1000)}
    after = plan(Queue(turns), {"busy": line("busy", 1), "back": line("back", 1, 1)}, 2).turns
    assert after["back"].served == 1000


def test_who_comes_back_is_before_work_that_was_charged_and_is_not_done():
    queue = Queue({"busy": Turn(100, waiting=True)}, serving={"busy": 20.0})
    started = ids(plan(queue, {"busy": line("busy", 10, 10), "back": line("back", 10, 10, 10, since=50)}, 8))
    assert started == ["back0", "back1", "busy0", "back2"]


def test_where_nobody_waited_all_start_even_with_the_one_served_most():
    after = plan(Queue({"a": Turn(50), "b": Turn(20)}), {"b": line("b", 1), "c": line("c", 1)}, 4).turns
    assert after == {"b": Turn(51), "c": Turn(51)}


def test_who_has_jobs_left_is_waiting():
    after = plan(Queue(), {"a": line("a", 1, 1), "b": line("b", 1)}, 4).turns
    assert (after["a"].waiting, after["b"].waiting) == (True, False)


def test_who_has_nothing_left_waits_no_more():
    assert plan(Queue({"a": Turn(5, waiting=True)}), {}, 4).turns == {"a": Turn(5)}


def test_a_team_whose_jobs_may_not_start_now_still_waits():
    assert plan(Queue({"a": Turn(5, waiting=True)}), {}, 4, held={"a"}).turns == {}
    after = plan(Queue({"a": Turn(5, waiting=True), "b": Turn(9, waiting=True)}), {"a": line("a", 1)}, 4, {"a", "b"})
    assert after.turns == {"a": Turn(6, waiting=True)}


def test_only_turns_that_changed_are_told():
    turns = {"a": Turn(5, waiting=True), "b": Turn(3)}
    assert plan(Queue(turns), {"a": line("a", 1)}, 0).turns == {}


def test_another_attempt_is_free():
    assert charge(5.0, first=False) == 0
    assert charge(5.0, first=True) == 5


def test_turns_pass_between_jobs_that_cost_nothing():
    free = charge(0.0, first=True)
    started = ids(plan(Queue(), {"a": line("a", free, free), "b": line("b", free, free, since=0.5)}, 8))
    assert started == ["a0", "b0", "a1", "b1"]


teams = st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1)


@given(teams, st.integers(0, 40))
def test_every_team_that_waits_is_served_as_far_as_the_others(work, room):
    heads = {tenant: line(tenant, *gflops) for tenant, gflops in work.items()}
    planned = plan(Queue(), heads, room)
    served = {tenant: sum(head.gflop for head in planned.started if head.tenant == tenant) for tenant in work}
    left = {tenant for tenant in work if sum(head.tenant == tenant for head in planned.started) < len(work[tenant])}
    for behind in left:
        assert all(served[behind] + 9 >= served[other] for other in work)


@given(teams, st.integers(0, 40))
def test_room_is_used_and_work_is_conserved(work, room):
    heads = {tenant: line(tenant, *gflops) for tenant, gflops in work.items()}
    started = plan(Queue(), heads, room).started
    rows = sum(head.rows for head in started)
    assert len({head.id for head in started}) == len(started)
    assert rows >= room or len(started) == sum(map(len, work.values()))
    assert rows < room + 2


@given(teams.filter(lambda work: "a" in work), st.integers(1, 9))
def test_what_starts_before_a_job_is_what_the_policy_starts(work, size):
    """Where each team's jobs are of one size."""
    alike = {tenant: [size + ord(tenant)] * len(gflops) for tenant, gflops in work.items()}
    heads = {tenant: line(tenant, *gflops, since=ord(tenant) / 1000) for tenant, gflops in alike.items()}
    *before, job = heads["a"]
    waiting = {tenant: backlog(line) for tenant, line in heads.items()}
    order = ids(plan(Queue(), heads, 1000))
    assert ahead(Queue(), waiting, backlog(before), job).jobs == order.index(job.id)


def backlog(heads):
    oldest = min((head.created_at for head in heads), default=float("inf"))
    return Backlog(len(heads), sum(head.rows for head in heads), sum(head.gflop for head in heads), oldest)


def test_before_a_job_of_a_team_that_comes_back_there_is_its_share_and_no_more():
    queue = Queue({"busy": Turn(1000, waiting=True)})
    waiting = {"busy": Backlog(500, 1000, 500.0, 1.0)}
    job = Head("x", "back", 9.0, 2, 1.0)
    assert ahead(queue, waiting, Backlog(), job) == Backlog(1, 2, pytest.approx(1.0), 1.0)


# Inside a team


def both(interactive, batch):
    """Jobs of one team: `a0` ... and `batch0` ..., all equally old."""
    patient = [replace(head, id=f"batch{head.id[1:]}", priority="batch") for head in line("a", *[1.0] * batch)]
    return [*patient, *line("a", *[1.0] * interactive)]


def test_interactive_jobs_start_before_batch_jobs():
    assert ids(plan(Queue(), {"a": both(3, 2)}, 100)) == ["a0", "a1", "a2", "batch0", "batch1"]


def test_of_ten_that_start_one_is_batch():
    started = ids(plan(Queue(), {"a": both(30, 3)}, 100))
    assert [started.index(f"batch{i}") for i in range(3)] == [9, 19, 29]


def test_a_batch_job_starts_however_many_interactive_ones_come():
    turns, started = {}, []
    for _ in range(MOST_OVERTAKEN + 1):
        planned = plan(Queue(turns), {"a": both(1, 1)}, 1)
        turns |= planned.turns
        started += ids(planned)
    assert started == ["a0"] * MOST_OVERTAKEN + ["batch0"]
    assert turns["a"].overtaken == 0


def test_only_what_starts_before_a_batch_job_overtakes_it():
    assert plan(Queue(), {"a": line("a", *[1.0] * 9)}, 100).turns["a"].overtaken == 0
    assert plan(Queue(), {"a": both(9, 1)}, 8).turns["a"].overtaken == 4


def test_another_teams_jobs_overtake_nothing():
    after = plan(Queue(), {"a": both(0, 1), "b": line("b", *[0.01] * 9)}, 8).turns
    assert (after["a"].overtaken, after["b"].overtaken) == (0, 0)


def test_a_count_lasts_while_its_team_has_nothing_that_may_start():
    turns = {"a": Turn(5, waiting=True, overtaken=3)}
    assert plan(Queue(turns), {}, 4, held={"a"}).turns == {}
    assert plan(Queue(turns), {}, 4).turns == {"a": Turn(5, overtaken=3)}


@given(st.integers(0, 40), st.integers(0, 6), st.integers(0, MOST_OVERTAKEN))
def test_the_place_of_a_job_in_its_team_is_that_of_its_start(interactive, batch, overtaken):
    queue = Queue({"a": Turn(0.0, waiting=True, overtaken=overtaken)})
    order = ids(plan(queue, {"a": both(interactive, batch)}, 1000))
    places = [i + others_before("interactive", i, batch, overtaken) for i in range(interactive)]
    assert places == [order.index(f"a{i}") for i in range(interactive)]
    places = [i + others_before("batch", i, interactive, overtaken) for i in range(batch)]
    assert places == [order.index(f"batch{i}") for i in range(batch)]


# Counters that have grown


def test_the_least_charge_counts_after_years_of_work():
    turns = {"a": Turn(2e13, waiting=True), "b": Turn(2e13, waiting=True)}
    heads = {"a": line("a", *[LEAST_GFLOP] * 9), "b": line("b", *[LEAST_GFLOP] * 9, since=50)}
    started = plan(Queue(turns), heads, 12).started
    assert sum(head.tenant == "a" for head in started) == 3


@pytest.mark.parametrize("serving", [{}, {"a": 4.0}])
def test_large_counters_are_lowered_together(serving):
    small = {"a": Turn(5, waiting=True), "b": Turn(7, waiting=True), "ahead": Turn(9), "behind": Turn(1)}
    large = {tenant: replace(turn, served=turn.served + 2 * LARGE_GFLOP) for tenant, turn in small.items()}
    heads = {tenant: line(tenant, 1, 2, 3) for tenant in ("a", "b", "behind")}
    low, high = (plan(Queue(turns, serving=serving), heads, 8) for turns in (small, large))
    assert ids(high) == ids(low)
    gap = {turns["a"].served - turns["b"].served for turns in (small | low.turns, high.turns)}
    assert len(gap) == 1
    assert set(high.turns) == set(large)
    assert max(turn.served for turn in high.turns.values()) < 20


def test_who_was_idle_below_is_lifted_as_if_nothing_had_been_lowered():
    large = {"a": Turn(2 * LARGE_GFLOP, waiting=True), "idle": Turn(3.0)}
    lowered = large | plan(Queue(large), {"a": line("a", 1, 1)}, 2).turns
    back = {"a": line("a", 1, 1), "idle": line("idle", 1, 1, since=50)}
    assert ids(plan(Queue(lowered), back, 8)) == ["a0", "idle0", "a1", "idle1"]


def test_counters_that_nobody_can_lose_by_are_left_alone():
    turns = {"a": Turn(LARGE_GFLOP / 2, waiting=True), "idle": Turn(3.0)}
    assert set(plan(Queue(turns), {"a": line("a", 1, 1)}, 2).turns) == {"a"}
