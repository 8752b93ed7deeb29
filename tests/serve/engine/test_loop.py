"""The engine driven by hand: the test is both threads."""

from __future__ import annotations

import logging

import pytest
import torch

from serve.engine.core import EngineClosed
from serve.engine.loop import Engine
from serve.engine.scheduler import Scheduler
from tests.serve.engine.conftest import LARGE, PINNED, SMALL, one_at_a_time, picture, run


@pytest.fixture
def engine(model, clock):
    return Engine(model, Scheduler(), clock)


def submit(engine, heard, *images):
    for image in images:
        engine.submit(image, heard)
    return images


# A good life


def test_an_image_starts_is_stepped_and_finishes(engine, heard):
    [image] = submit(engine, heard, picture(steps=2, name="a"))
    run(engine)
    assert heard.kinds(image) == ["started", "stepped", "stepped", "finished"]
    assert heard.of["a"][1:3] == [("stepped", 1, 2), ("stepped", 2, 2)]


def test_pictures_equal_the_slow_obvious_path(engine, model, heard):
    images = submit(
        engine,
        heard,
        *(picture(key, rows=1 + i % 2, steps=1 + i % 5, seed=i) for i in range(30) for key in (SMALL, LARGE, PINNED)),
    )
    run(engine)
    assert [heard.last(image) for image in images] == [
        ("finished", one_at_a_time(type(model)(), image)) for image in images
    ]


def test_an_idle_engine_does_nothing(engine, model):
    assert not engine.step()
    assert not engine.finish()
    assert engine.stats == type(engine.stats)()


def test_newcomers_start_together_and_join_the_next_step(engine, model, heard):
    first, *others = (picture(steps=2), picture(steps=1), picture(steps=1))
    submit(engine, heard, first)
    engine.step()
    submit(engine, heard, *others)
    engine.step()
    assert [batch.images for batch in model.batches] == [(first,), (first, *others)]


def test_an_id_may_come_back_when_its_image_has_ended(engine, heard):
    for _ in range(2):
        [image] = submit(engine, heard, picture(name="a", steps=1))
        run(engine)
    assert heard.kinds(image) == ["started", "stepped", "finished"] * 2


def test_an_id_that_is_here_is_refused(engine, heard):
    submit(engine, heard, picture(name="a"))
    with pytest.raises(ValueError, match="'a' is here already"):
        submit(engine, heard, picture(LARGE, name="a"))


def test_what_the_scheduler_refuses_is_not_accepted(engine, heard):
    with pytest.raises(ValueError, match="pinned to 3"):
        submit(engine, heard, picture(type(SMALL)(64, 64, "sha256:aa", 3), name="a"))
    assert not engine.cancel("a")
    assert not engine.step()


# Finishing


def test_images_of_a_key_are_finished_together(engine, model, heard):
    submit(engine, heard, *(picture(steps=1) for _ in range(3)))
    run(engine)
    assert model.finished == [3]


def test_only_images_of_one_key_are(engine, model, heard):
    submit(engine, heard, picture(SMALL, steps=1), picture(LARGE, steps=1), picture(SMALL, steps=1))
    run(engine)
    assert model.finished == [2, 1]


def test_the_decode_cap_bounds_them(model, heard):
    engine = Engine(model, Scheduler(), decode_cap=3)
    submit(engine, heard, *(picture(steps=1) for _ in range(7)))
    run(engine)
    assert model.finished == [3, 3, 1]


def test_the_oldest_finished_image_is_next_whatever_its_key(model, heard):
    engine = Engine(model, Scheduler(), decode_cap=1)
    a, b, c = submit(engine, heard, picture(SMALL, steps=1), picture(SMALL, steps=1), picture(LARGE, steps=1))
    run(engine)
    assert [event[0] for event in heard.order if event[1] == "finished"] == [a.id, b.id, c.id]


def test_stepping_goes_on_while_images_wait_to_be_finished(engine, model, heard):
    submit(engine, heard, picture(steps=1), picture(steps=5))
    while engine.step():
        pass
    assert (len(model.stepped), model.finished, engine.stats.finishing) == (5, [], 2)


def test_a_decode_cap_holds_at_least_one(model):
    with pytest.raises(ValueError, match="decode_cap 0"):
        Engine(model, Scheduler(), decode_cap=0)


# Failing


@pytest.mark.parametrize("where", ["start", 0, 1, "finish"])
def test_a_bad_image_fails_alone(engine, heard, where):
    images = submit(engine, heard, *(picture(seed=i, steps=3, bad=where if i == 5 else None) for i in range(8)))
    run(engine)
    for i, image in enumerate(images):
        if i == 5:
            kind, error = heard.last(image)
            assert (kind, str(error)) == ("failed", "bad image 5")
        else:
            assert heard.kinds(image) == ["started", "stepped", "stepped", "stepped", "finished"]


def test_a_batch_that_there_is_no_memory_for_is_stepped_in_parts(engine, model, heard, monkeypatch):
    step = model.step

    def short_of_memory(batch):
        if len(batch.images) > 3:
            model.batches.append(batch)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return step(batch)

    monkeypatch.setattr(model, "step", short_of_memory)
    images = submit(engine, heard, *(picture(seed=i, steps=2) for i in range(8)))
    run(engine)
    assert {heard.last(image)[0] for image in images} == {"finished"}
    assert {len(batch.images) for batch in model.stepped} == {2}


def test_the_others_are_stepped_exactly_once_by_a_step_that_raises(engine, model, heard):
    images = submit(engine, heard, *(picture(seed=i, bad=0 if i == 5 else None) for i in range(8)))
    engine.step()
    stepped = [image for batch in model.stepped for image in batch.images]
    assert sorted(stepped, key=images.index) == [image for i, image in enumerate(images) if i != 5]


def test_parts_of_a_batch_are_padded_to_buckets_of_their_own(engine, model, heard):
    submit(engine, heard, *(picture(bad=0 if i == 0 else None, steps=1) for i in range(4)))
    engine.step()
    assert [batch.bucket for batch in model.batches] == [8, 4, 2, 2, 4]


def test_parts_of_a_pinned_batch_keep_its_bucket(engine, model, heard):
    submit(engine, heard, picture(PINNED, bad=0), picture(PINNED))
    engine.step()
    assert [batch.bucket for batch in model.batches] == [4, 4, 4]


def test_what_fails_for_everyone_fails_each_and_not_the_engine(engine, heard):
    images = submit(engine, heard, *(picture(seed=i, bad=1) for i in range(8)))
    run(engine)
    assert [str(heard.last(image)[1]) for image in images] == [f"bad image {i}" for i in range(8)]
    [image] = submit(engine, heard, picture())
    run(engine)
    assert heard.last(image)[0] == "finished"


@pytest.mark.parametrize("event", ["started", "stepped", "finished"])
def test_a_listener_that_raises_disturbs_nobody(engine, heard, caplog, event):
    class Raising(type(heard)):
        def _note(self, image, kind, *about):
            super()._note(image, kind, *about)
            if kind == event:
                raise RuntimeError("gone")

    bad = Raising()
    [victim] = submit(engine, bad, picture())
    [other] = submit(engine, heard, picture())
    with caplog.at_level(logging.ERROR):
        run(engine)
    assert bad.last(victim)[0] == heard.last(other)[0] == "finished"
    assert "gone" in caplog.text


def test_an_observer_that_raises_disturbs_nobody(model, heard, caplog):
    def observer(batch, seconds):
        raise RuntimeError("gone")

    engine = Engine(model, Scheduler(), observer=observer)
    [image] = submit(engine, heard, picture())
    run(engine)
    assert heard.last(image)[0] == "finished"
    assert "the observer raised" in caplog.text


# Cancelling


def test_a_waiting_image_is_cancelled_at_once(engine, heard):
    [image] = submit(engine, heard, picture())
    assert engine.cancel(image.id)
    assert heard.kinds(image) == ["cancelled"]
    assert not engine.step()


def test_a_running_image_takes_no_further_step(engine, model, heard):
    image, other = submit(engine, heard, picture(), picture())
    engine.step()
    engine.cancel(image.id)
    run(engine)
    assert heard.kinds(image) == ["started", "stepped", "cancelled"]
    assert [len(batch.images) for batch in model.batches] == [2, 1, 1]
    assert heard.last(other)[0] == "finished"


def test_a_cancelled_image_is_not_finished(engine, model, heard):
    [image] = submit(engine, heard, picture(steps=1))
    engine.step()
    engine.cancel(image.id)
    assert not engine.finish()
    assert heard.last(image) == ("cancelled",)
    assert engine.stats.finishing == 0


def test_a_cancelled_image_is_unknown(engine, heard):
    [image] = submit(engine, heard, picture())
    engine.cancel(image.id)
    assert not engine.cancel(image.id)
    assert heard.kinds(image) == ["cancelled"]


def test_cancelling_while_the_model_steps_drops_what_it_makes(model, heard):
    class Cancelling(type(model)):
        def step(self, batch):
            engine.cancel(batch.images[0].id)
            return super().step(batch)

    engine = Engine(Cancelling(), Scheduler())
    [image] = submit(engine, heard, picture(steps=1))
    run(engine)
    assert heard.kinds(image) == ["started", "cancelled"]


def test_cancelling_while_the_model_finishes_drops_the_result(model, heard):
    class Cancelling(type(model)):
        def finish(self, key, states):
            engine.cancel("a")
            return super().finish(key, states)

    engine = Engine(Cancelling(), Scheduler())
    image, other = submit(engine, heard, picture(steps=1, name="a"), picture(steps=1))
    run(engine)
    assert (heard.last(image), heard.last(other)[0]) == (("cancelled",), "finished")


def test_a_result_is_not_given_to_another_image_of_the_same_id(model, heard):
    class Replacing(type(model)):
        def finish(self, key, states):
            if engine.cancel("a") and not self.finished:
                engine.submit(second, heard)
            return super().finish(key, states)

    engine = Engine(Replacing(), Scheduler())
    second = picture(steps=1, name="a", seed=2)
    submit(engine, heard, picture(steps=1, name="a", seed=1))
    engine.step()
    engine.finish()
    assert heard.of["a"] == [("started",), ("stepped", 1, 1), ("cancelled",)]


@pytest.mark.parametrize(("event", "victims"), [("started", ["cancelled"]), ("stepped", ["started", "cancelled"])])
def test_a_listener_may_cancel_its_neighbour(engine, heard, event, victims):
    class Rival(type(heard)):
        def _note(self, image, kind, *about):
            super()._note(image, kind, *about)
            if kind == event:
                engine.cancel("victim")

    rival = Rival()
    [image] = submit(engine, rival, picture(steps=1))
    [victim] = submit(engine, heard, picture(steps=1, name="victim"))
    run(engine)
    assert heard.kinds(victim) == victims
    assert rival.last(image)[0] == "finished"


def test_an_image_that_its_listener_cancels_at_its_last_step_is_not_finished(engine, model, heard):
    class Fickle(type(heard)):
        def stepped(self, image, done, of):
            super().stepped(image, done, of)
            if done == of:
                engine.cancel(image.id)

    fickle = Fickle()
    [image] = submit(engine, fickle, picture(steps=1))
    run(engine)
    assert fickle.kinds(image) == ["started", "stepped", "cancelled"]
    assert model.finished == []


def test_a_listener_may_submit_the_next_image(engine, heard):
    class Chain(type(heard)):
        def finished(self, image, result):
            super().finished(image, result)
            if image.steps > 1:
                engine.submit(picture(steps=image.steps - 1), self)

    chain = Chain()
    submit(engine, chain, picture(steps=3))
    run(engine)
    assert [event[-1][2] for event in chain.order if event[1] == "finished"] == [3, 2, 1]


# Ending


def test_a_drained_engine_refuses_new_images(engine, heard):
    assert engine.drain()
    assert engine.alive
    with pytest.raises(EngineClosed, match="drains"):
        submit(engine, heard, picture())


def test_draining_finishes_what_was_accepted(engine, heard):
    [image] = submit(engine, heard, picture())
    assert not engine.drain(timeout=0)
    run(engine)
    assert engine.drain(timeout=0)
    assert heard.last(image)[0] == "finished"


def test_stopping_fails_what_is_pending(engine, heard):
    waiting, running, finishing = images = [picture(), picture(steps=2), picture(steps=1)]
    submit(engine, heard, running, finishing)
    engine.step()
    submit(engine, heard, waiting)
    engine.stop()
    assert [heard.last(image)[0] for image in images] == ["failed"] * 3
    assert isinstance(heard.last(waiting)[1], EngineClosed)
    assert not engine.alive


def test_a_stopped_engine_does_nothing(engine, heard):
    submit(engine, heard, picture(steps=1), picture())
    engine.step()
    engine.stop()
    assert not engine.step()
    assert not engine.finish()
    with pytest.raises(EngineClosed, match="stopped"):
        submit(engine, heard, picture())


# Telemetry


def test_stats_count_what_was_done(heard, clock, model):
    class Slow(type(model)):
        def step(self, batch):
            clock.now += 0.5
            return super().step(batch)

    engine = Engine(Slow(), Scheduler(), clock)
    *_, cancelled = submit(engine, heard, picture(bad="finish", steps=1), picture(rows=1), picture())
    engine.step()
    engine.cancel(cancelled.id)
    submit(engine, heard, picture(LARGE))
    stats = engine.stats
    assert (stats.steps, stats.rows, stats.padding, stats.bucket, stats.step_seconds) == (1, 5, 3, 8, 0.5)
    assert (stats.waiting, stats.running, stats.finishing) == (1, 1, 1)
    run(engine)
    stats = engine.stats
    assert (stats.finished, stats.failed, stats.cancelled) == (2, 1, 1)
    assert (stats.waiting, stats.running, stats.finishing) == (0, 0, 0)


def test_an_observer_sees_each_step(heard, clock, model):
    class Slow(type(model)):
        def step(self, batch):
            clock.now += 0.25
            return super().step(batch)

    seen = []
    engine = Engine(Slow(), Scheduler(), clock, observer=lambda batch, seconds: seen.append((batch.rows, seconds)))
    submit(engine, heard, picture(steps=2), picture(steps=1))
    run(engine)
    assert seen == [(4, 0.25), (2, 0.25)]


def test_the_heart_beats_with_each_step(engine, heard, clock):
    submit(engine, heard, picture(steps=2))
    clock.now += 5
    assert engine.heartbeat_age == 5
    engine.step()
    assert engine.heartbeat_age == 0


def test_an_idle_heart_does_not_age(engine, heard, clock):
    submit(engine, heard, picture(steps=1))
    engine.step()
    engine.finish()
    clock.now += 1000
    assert engine.heartbeat_age == 0
    submit(engine, heard, picture(steps=1))
    assert engine.heartbeat_age == 0
    engine.step()
    assert engine.heartbeat_age == 0  # nor has the finish thread's, which has work now


def test_a_stalled_finish_is_not_hidden_by_steps(engine, heard, clock):
    submit(engine, heard, picture(steps=1), picture(steps=9))
    engine.step()
    clock.now += 5
    engine.step()
    assert engine.heartbeat_age == 5


def test_a_stalled_step_is_not_hidden_by_cancelling_its_images(heard, clock, model):
    ages = []

    class Stalled(type(model)):
        def step(self, batch):
            engine.cancel(batch.images[0].id)
            clock.now += 60
            ages.append(engine.heartbeat_age)
            engine.submit(picture(), heard)
            ages.append(engine.heartbeat_age)
            return super().step(batch)

    engine = Engine(Stalled(), Scheduler(), clock)
    submit(engine, heard, picture())
    engine.step()
    assert ages == [60, 60]
