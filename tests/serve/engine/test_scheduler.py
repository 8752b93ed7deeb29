from __future__ import annotations

import pytest

from serve.engine.core import UNSTARTED, Failure
from serve.engine.scheduler import Scheduler
from tests.serve.engine.conftest import LARGE, PINNED, SMALL, picture


def filled(*images, **sizes):
    scheduler = Scheduler(**sizes)
    for image in images:
        scheduler.add(image)
    return scheduler


def turn(scheduler):
    """One step in which all goes well; the batch, or None."""
    batch = scheduler.schedule()
    if batch is not None:
        scheduler.commit(batch, ["state"] * len(batch.images))
    return batch


def names(batch):
    return [image.id for image in batch.images]


# Batches


def test_nothing_to_do():
    assert Scheduler().schedule() is None


def test_a_newcomer_has_no_state_and_then_the_one_that_was_committed():
    scheduler = filled(picture())
    batch = scheduler.schedule()
    assert batch.states == (UNSTARTED,)
    scheduler.commit(batch, ["first"])
    assert scheduler.schedule().states == ("first",)


@pytest.mark.parametrize(("rows", "bucket"), [((1,), 1), ((2,), 2), ((2, 1), 4), ((2, 2), 4), ((2,) * 5, 16)])
def test_rows_are_padded_up_to_a_bucket(rows, bucket):
    assert filled(*(picture(rows=r) for r in rows)).schedule().bucket == bucket


def test_a_batch_holds_as_many_images_as_there_are_rows():
    assert len(filled(*(picture() for _ in range(9))).schedule().images) == 8


def test_max_rows_between_buckets_is_the_bucket_below():
    batch = filled(*(picture() for _ in range(9)), max_rows=12).schedule()
    assert batch.rows == batch.bucket == 8


def test_a_pinned_key_has_one_bucket():
    scheduler = filled(picture(PINNED), picture(PINNED), picture(PINNED, rows=1))
    batch = scheduler.schedule()
    assert batch.rows == batch.bucket == 4
    assert filled(picture(PINNED, rows=1)).schedule().bucket == 4


def test_a_batch_is_of_one_key():
    scheduler = filled(picture(SMALL), picture(LARGE), picture(SMALL))
    assert {image.key for image in scheduler.schedule().images} == {SMALL}


# Joining and leaving


def test_an_image_joins_at_the_next_step():
    scheduler = filled(picture(name="a"))
    turn(scheduler)
    scheduler.add(picture(name="b"))
    assert names(scheduler.schedule()) == ["a", "b"]


def test_an_image_leaves_when_its_own_steps_are_done():
    scheduler = filled(picture(name="a", steps=1), picture(name="b", steps=2))
    moves = scheduler.commit(scheduler.schedule(), ["a1", "b1"])
    assert [(move.image.id, move.done, move.outcome, move.last) for move in moves] == [
        ("a", 1, "a1", True),
        ("b", 1, "b1", False),
    ]
    assert names(scheduler.schedule()) == ["b"]


def test_a_failed_image_leaves_and_the_others_move_on():
    scheduler = filled(picture(name="a"), picture(name="b"))
    moves = scheduler.commit(scheduler.schedule(), [failure := Failure(ValueError()), "b1"])
    assert [(move.done, move.outcome) for move in moves] == [(0, failure), (1, "b1")]
    assert names(scheduler.schedule()) == ["b"]


def test_a_running_image_keeps_its_seat():
    scheduler = filled(picture(name="a", steps=9), max_rows=2)
    scheduler.add(picture(name="b", steps=1))
    assert [names(turn(scheduler)) for _ in range(10)] == [["a"]] * 9 + [["b"]]


def test_it_is_busy_while_there_are_images():
    scheduler = filled(picture(steps=2), max_rows=2)
    scheduler.add(picture(steps=1))
    seen = []
    while scheduler.busy:
        seen.append((scheduler.waiting, scheduler.running))
        turn(scheduler)
    assert seen == [(2, 0), (1, 1), (1, 0)]


# First come, first served, with a lookahead of at most one bucket


def test_the_oldest_go_first():
    scheduler = filled(*(picture(name=name, steps=1) for name in "abcd"), max_rows=4)
    assert [names(turn(scheduler)) for _ in range(2)] == [["a", "b"], ["c", "d"]]


def test_a_later_image_takes_the_row_that_the_oldest_cannot():
    scheduler = filled(picture(name="a", rows=1), max_rows=2)
    turn(scheduler)
    scheduler.add(picture(name="b", rows=2))
    scheduler.add(picture(name="c", rows=1))
    assert names(scheduler.schedule()) == ["a", "c"]


def test_no_image_looks_ahead_by_a_bucket():
    scheduler = filled(picture(name="a", rows=1, steps=9), max_rows=4)
    turn(scheduler)
    for name in "bcde":
        scheduler.add(picture(name=name, rows=2))  # b joins; one row is left, c is passed over; d and e are the bucket
    scheduler.add(picture(name="f", rows=1))
    assert names(turn(scheduler)) == ["a", "b"]


def test_overtaking_ends_however_many_come():
    scheduler = filled(picture(name="long", rows=1, steps=100), max_rows=2)
    turn(scheduler)
    scheduler.add(picture(name="wide", rows=2))
    for _ in range(10):
        scheduler.add(picture(rows=1, steps=1))
    overtakers = [names(turn(scheduler))[1:] for _ in range(10)]
    assert sum(map(len, overtakers)) == 2


def test_cancelled_images_do_not_hold_up_those_behind():
    images = [picture(name=name) for name in "abcdefgh"]
    scheduler = filled(*images, max_rows=4)
    for image in images[1:6]:
        scheduler.cancel(image)
    assert names(scheduler.schedule()) == ["a", "g"]


# Keys take turns


def test_keys_take_turns_step_by_step():
    scheduler = filled(picture(SMALL), picture(LARGE), picture(PINNED))
    assert [turn(scheduler).key for _ in range(6)] == [SMALL, LARGE, PINNED] * 2


def test_a_full_key_has_no_more_turns_than_a_lonely_image():
    scheduler = filled(*(picture(SMALL) for _ in range(50)), picture(LARGE))
    assert [turn(scheduler).key for _ in range(4)] == [SMALL, LARGE] * 2


def test_a_new_key_comes_after_those_that_are_here():
    scheduler = filled(picture(SMALL), picture(LARGE))
    turn(scheduler)
    scheduler.add(picture(PINNED))
    assert [turn(scheduler).key for _ in range(3)] == [LARGE, SMALL, PINNED]


def test_a_key_without_images_has_no_turn():
    scheduler = filled(picture(SMALL, steps=1), picture(LARGE, steps=3))
    assert [turn(scheduler).key for _ in range(4)] == [SMALL, LARGE, LARGE, LARGE]


# Cancelling


def test_a_cancelled_waiting_image_never_joins():
    scheduler = filled(image := picture())
    scheduler.cancel(image)
    assert scheduler.schedule() is None


def test_a_cancelled_running_image_is_not_in_the_next_batch():
    scheduler = filled(image := picture(name="a"), picture(name="b"))
    turn(scheduler)
    scheduler.cancel(image)
    assert names(scheduler.schedule()) == ["b"]


@pytest.mark.parametrize("others", [0, 1])
def test_what_became_of_a_cancelled_image_is_dropped(others):
    scheduler = filled(image := picture(), *(picture(name="b") for _ in range(others)))
    batch = scheduler.schedule()
    scheduler.cancel(image)
    assert [move.image.id for move in scheduler.commit(batch, ["state"] * len(batch.images))] == ["b"] * others


def test_an_image_that_comes_back_while_its_old_self_is_stepped_starts_anew():
    scheduler = filled(image := picture())
    batch = scheduler.schedule()
    scheduler.cancel(image)
    scheduler.add(image)
    assert scheduler.commit(batch, ["old"]) == []
    assert scheduler.schedule().states == (UNSTARTED,)


def test_cancelling_what_is_not_here_does_nothing():
    scheduler = filled(picture(name="a"))
    scheduler.cancel(picture(name="b"))
    scheduler.cancel(picture(LARGE))
    assert names(scheduler.schedule()) == ["a"]


# What it refuses


def test_there_must_be_a_bucket():
    with pytest.raises(ValueError, match=r"max_rows 3 is below every bucket of \(4, 8\)"):
        Scheduler((4, 8), 3)


def test_an_image_that_no_batch_holds_is_refused():
    with pytest.raises(ValueError, match="takes 2 rows; its batches hold 1"):
        filled(picture(rows=2), max_rows=1)


@pytest.mark.parametrize("pinned", [3, 32])
def test_what_is_pinned_must_be_a_bucket_within_max_rows(pinned):
    key = type(SMALL)(64, 64, "sha256:aa", pinned)
    with pytest.raises(ValueError, match=rf"pinned to {pinned} rows; the buckets are \(1, 2, 4, 8, 16\)"):
        filled(picture(key))
