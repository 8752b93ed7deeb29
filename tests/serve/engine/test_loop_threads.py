"""The engine in its own threads: tests meet it at events, and no test waits for longer than `SOON`."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from functools import partial
from queue import Queue

import pytest

from serve.engine.core import EngineClosed, EngineDead
from serve.engine.loop import Engine
from serve.engine.scheduler import Scheduler
from tests.serve.engine.conftest import LARGE, SMALL, Arithmetic, Recorder, one_at_a_time, picture

pytestmark = pytest.mark.timeout(120)
SOON = 60  # seconds; passed only by a test that fails


def background(call):
    """A call in a thread that no exit waits for."""
    future = Future()
    threading.Thread(target=lambda: future.set_result(call()), daemon=True).start()
    return future


class Gate:
    """Holds a thread until the test lets it on."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def hold(self):
        self.reached.set()
        assert self.opened.wait(SOON)

    def await_arrival(self):
        assert self.reached.wait(SOON)

    def open(self):
        self.opened.set()


class Gated(Arithmetic):
    """Stops at a gate in the verbs that have one."""

    def __init__(self, **gates):
        super().__init__()
        self.gates = gates

    def step(self, batch):
        if gate := self.gates.get("step"):
            gate.hold()
        return super().step(batch)

    def finish(self, key, states):
        if gate := self.gates.get("finish"):
            gate.hold()
        return super().finish(key, states)


class Mailbox(Recorder):
    """A recorder whose last events can be waited for."""

    def __init__(self):
        super().__init__()
        self.ends = Queue()

    def _note(self, image, kind, *about):
        super()._note(image, kind, *about)
        if kind in ("finished", "failed", "cancelled"):
            self.ends.put((image.id, kind, *about))

    def end(self):
        return self.ends.get(timeout=SOON)


@pytest.fixture
def heard():
    return Mailbox()


@pytest.fixture
def running():
    """Starts engines; stops them all after the test."""
    engines = []

    def start(model, **options):
        engine = Engine(model, options.pop("scheduler", Scheduler()), **options)
        engines.append(engine)
        engine.start()
        return engine

    yield start
    for engine in engines:
        background(engine.stop).result(SOON)


def test_an_image_is_made(running, heard):
    engine = running(Arithmetic())
    engine.submit(image := picture(name="a"), heard)
    assert heard.end() == ("a", "finished", one_at_a_time(Arithmetic(), image))


def test_an_idle_engine_wakes_up_again(running, heard):
    engine = running(Arithmetic())
    for _ in range(3):
        engine.submit(picture(), heard)
        assert heard.end()[1] == "finished"


def test_submitting_and_cancelling_do_not_wait_for_a_step(running, heard):
    engine = running(Gated(step=(gate := Gate())))
    engine.submit(picture(name="running"), heard)
    gate.await_arrival()
    engine.submit(picture(name="waiting"), heard)
    assert engine.cancel("waiting")
    assert engine.cancel("running")
    assert [heard.end() for _ in range(2)] == [("waiting", "cancelled"), ("running", "cancelled")]
    gate.open()
    assert engine.drain(SOON)
    assert heard.of["running"] == [("started",), ("cancelled",)]


def test_stepping_does_not_wait_for_finishing(running, heard):
    engine = running(Gated(finish=(gate := Gate())))
    engine.submit(picture(steps=1, name="first"), heard)
    gate.await_arrival()
    stepped = threading.Event()

    class Watcher(Recorder):
        def stepped(self, image, done, of):
            if done == of:
                stepped.set()

    engine.submit(picture(steps=50), Watcher())
    assert stepped.wait(SOON)
    assert heard.ends.empty()
    gate.open()
    assert heard.end()[:2] == ("first", "finished")


def test_one_thread_may_take_turns(running, heard):
    computed_in = set()

    class Watched(Arithmetic):
        def step(self, batch):
            computed_in.add(threading.current_thread().name)
            return super().step(batch)

        def finish(self, key, states):
            computed_in.add(threading.current_thread().name)
            return super().finish(key, states)

    engine = running(Watched(), apart=False)
    images = [picture(steps=steps, name=f"{steps}") for steps in (1, 2, 4)]
    for image in images:
        engine.submit(image, heard)
    assert [heard.end() for _ in images] == [(i.id, "finished", one_at_a_time(Arithmetic(), i)) for i in images]
    assert computed_in == {"engine-turns"}


def test_what_finishes_meanwhile_is_finished_together(running, heard):
    model = Gated(finish=(gate := Gate()))
    engine = running(model, decode_cap=4)
    engine.submit(picture(steps=1), heard)
    gate.await_arrival()
    for _ in range(5):
        engine.submit(picture(steps=1), heard)
    flushed = threading.Event()

    class Watcher(Recorder):
        def stepped(self, image, done, of):
            flushed.set()

    engine.submit(picture(LARGE, steps=1), Watcher())
    assert flushed.wait(SOON)  # the other key's turn comes after the one of the five
    gate.open()
    assert engine.drain(SOON)
    assert model.finished[:3] == [1, 4, 1]


def test_draining_finishes_all_and_refuses_more(running, heard):
    engine = running(Gated(step=(gate := Gate())))
    for _ in range(20):
        engine.submit(picture(), heard)
    gate.await_arrival()
    assert not engine.drain(timeout=0)
    with pytest.raises(EngineClosed, match="drains"):
        engine.submit(picture(), heard)
    gate.open()
    assert engine.drain(SOON)
    assert {heard.end()[1] for _ in range(20)} == {"finished"}
    assert engine.alive


def test_stopping_waits_for_the_step_and_ends_the_threads(running, heard, caplog):
    engine = running(Gated(step=(gate := Gate())))
    engine.submit(picture(name="running"), heard)
    gate.await_arrival()
    engine.submit(picture(LARGE, name="waiting"), heard)
    stopped = background(engine.stop)
    assert {heard.end()[:2] for _ in range(2)} == {("running", "failed"), ("waiting", "failed")}
    assert not stopped.done()
    gate.open()
    stopped.result(SOON)
    assert not any(thread.is_alive() for thread in engine._threads)
    assert not caplog.records  # an orderly end is no death


def test_stopping_ends_a_wait_for_the_drain(running, heard):
    engine = running(Gated(step=(gate := Gate())))
    engine.submit(picture(), heard)
    gate.await_arrival()
    drained, stopped = background(engine.drain), background(engine.stop)
    assert drained.result(SOON)
    gate.open()
    stopped.result(SOON)


# Death


class Broken(Scheduler):
    """A scheduler with a bug."""

    def commit(self, batch, outcomes):
        raise LookupError("a bug")


class Leaving(Arithmetic):
    """A model that ends its thread in one of its verbs."""

    def __init__(self, verb, error):
        super().__init__()

        def leave(*args):
            raise error

        setattr(self, verb, leave)


DEATHS = {
    "a bug in the loop": lambda: (Arithmetic(), Broken()),
    "an interrupt in start": lambda: (Leaving("start", KeyboardInterrupt()), Scheduler()),
    "an exit in step": lambda: (Leaving("step", SystemExit()), Scheduler()),
    "an exit in finish": lambda: (Leaving("finish", SystemExit()), Scheduler()),
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_death_is_loud(running, heard, caplog, death):
    model, scheduler = DEATHS[death]()
    engine = running(model, scheduler=scheduler)
    with caplog.at_level(logging.CRITICAL), engine._changed:  # so that all are pending when it dies
        for i in range(3):
            engine.submit(picture(SMALL if i else LARGE, steps=1), heard)
    ends = [heard.end() for _ in range(3)]
    assert {(kind, type(error)) for _, kind, error in ends} == {("failed", EngineDead)}
    assert not engine.alive
    with pytest.raises(EngineDead):
        engine.submit(picture(), heard)
    engine.stop()
    assert "the engine died" in caplog.text


def test_everyone_hears_of_a_death_whatever_the_others_do(running, heard):
    class Leaver(Recorder):
        def stepped(self, image, done, of):
            raise SystemExit

        def failed(self, image, error):
            raise SystemExit

    engine = running(Arithmetic())
    with engine._changed:
        engine.submit(picture(), Leaver())
        engine.submit(picture(LARGE, name="other"), heard)
    assert heard.end()[:2] == ("other", "failed")


def test_the_reason_of_a_death_is_told(running, heard):
    engine = running(Arithmetic(), scheduler=Broken())
    engine.submit(picture(), heard)
    assert "LookupError('a bug')" in str(heard.end()[2])


def test_an_engine_is_given_up_without_waiting_for_its_step(running, heard):
    begun, go_on = threading.Event(), threading.Event()

    class Stuck(Arithmetic):
        def step(self, batch):
            begun.set()
            go_on.wait()
            return super().step(batch)

    engine = running(Stuck())
    engine.submit(picture(), heard)
    begun.wait()
    engine.give_up("it stalls")
    _, kind, error = heard.end()
    assert (kind, type(error), str(error)) == ("failed", EngineDead, "it stalls")
    assert not engine.alive
    go_on.set()


def test_a_death_remains_the_reason_when_the_engine_is_stopped(running, heard):
    engine = running(Arithmetic(), scheduler=Broken())
    engine.submit(picture(), heard)
    heard.end()
    engine.stop()
    with pytest.raises(EngineDead):
        engine.submit(picture(), heard)


def test_a_death_in_one_thread_ends_the_other(running, heard):
    engine = running(Leaving("finish", SystemExit()))
    engine.submit(picture(steps=1), heard)
    heard.end()
    for thread in engine._threads:
        thread.join(SOON)
        assert not thread.is_alive()


def test_a_stall_shows_while_the_lock_is_held(running, heard, clock):
    gate = Gate()

    class Blocking(Recorder):
        def started(self, image):
            gate.hold()

    engine = running(Arithmetic(), clock=clock)
    engine.submit(picture(), Blocking())
    gate.await_arrival()
    clock.now += 60
    assert engine.heartbeat_age == 60
    gate.open()


# Many at once


def test_many_threads_submit_and_cancel_at_once(running):
    engine = running(Arithmetic(), decode_cap=3)
    together = threading.Barrier(8)

    def tenant(number):
        heard = Mailbox()
        images = [
            picture((SMALL, LARGE)[i % 2], rows=1 + i % 2, steps=1 + i % 7, seed=i, bad=0 if i % 5 == 4 else None)
            for i in range(40)
        ]
        together.wait(SOON)
        for i, image in enumerate(images):
            engine.submit(image, heard)
            if i % 3 == 2:
                engine.cancel(images[i - 1].id)
        return heard, images, [heard.end() for _ in images]

    tenants = [background(partial(tenant, number)) for number in range(8)]
    for heard, images, ends in [each.result(SOON) for each in tenants]:
        assert len({id for id, *_ in ends}) == len(images)
        for image in images:
            kinds = heard.kinds(image)
            assert [kind for kind in kinds if kind in ("finished", "failed", "cancelled")] == kinds[-1:]
            if kinds[-1] == "finished":
                assert heard.last(image) == ("finished", one_at_a_time(Arithmetic(), image))
    assert engine.drain(SOON)
    assert engine.alive
    stats = engine.stats
    assert stats.finished + stats.failed + stats.cancelled == 8 * 40
