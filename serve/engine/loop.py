"""The engine: runs the scheduler's batches through the model, a step at a time, and tells the listeners.

    submit --> waiting --> running --> finishing --> finished        and, from anywhere, failed or cancelled
               |-- step thread --|     |- finish thread -|

One lock guards all bookkeeping. It is held while listeners are told, so that an image's events come in order and none
follows its last, and never while the model works, so that submitting and cancelling do not wait for a step.

An exception of the model is an image's failure. An exception of the engine itself is a bug, and a loud death: every
pending image fails with `EngineDead`, `submit` raises it, `alive` is False.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVarTuple

from serve.engine.bisection import isolate
from serve.engine.core import UNSTARTED, Batch, EngineClosed, EngineDead, Failure, Image, Listener, Model, Stats
from serve.engine.pulse import Pulse
from serve.engine.scheduler import Scheduler

log = logging.getLogger(__name__)
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """An accepted image and who hears of it. Tickets are told apart by identity: an id may come back."""

    image: Image
    listener: Listener


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """An image past its last step, on its way to the finish thread."""

    ticket: Ticket
    state: object


class Engine:
    """Step-level continuous batching.

    Images join at the next step of their key and leave when their own steps are done. `start()` runs the engine in
    two daemon threads; without it, whoever calls `step()` and `finish()` is the engine.

    Args:
        model: Starts, steps and finishes images.
        scheduler: Picks the batches; the engine's alone from here on.
        clock: Monotonic seconds.
        decode_cap: Most images that are finished at once.
        observer: Told each step's batch and seconds, from the step thread; like a listener it must be quick.
    """

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        clock: Callable[[], float] = time.monotonic,
        *,
        decode_cap: int = 8,
        observer: Callable[[Batch, float], object] | None = None,
    ) -> None:
        if decode_cap < 1:
            raise ValueError(f"decode_cap {decode_cap} is below 1")
        self._model = model
        self._scheduler = scheduler
        self._clock = clock
        self._decode_cap = decode_cap
        self._observer = observer
        self._changed = threading.Condition()  # over an RLock: listeners may submit and cancel
        self._tickets: dict[str, Ticket] = {}  # accepted, and not yet told how it ended
        self._stepping = False  # the model has a batch
        self._finished: dict[str, Finished] = {}  # waiting for the finish thread, first come first
        self._finishing = 0  # images that the model is decoding
        self._refusal: Callable[[], EngineClosed] | None = None  # why nothing more is accepted
        self._over = False
        self._stats = Stats()
        self._steps = Pulse(clock, lambda: self._stepping or scheduler.busy)
        self._finishes = Pulse(clock, lambda: self._finishing > 0 or bool(self._finished))
        self._threads = tuple(
            threading.Thread(target=self._loop, args=lane, name=f"engine-{lane[0].__name__}", daemon=True)
            for lane in ((self.step, lambda: scheduler.busy), (self.finish, lambda: bool(self._finished)))
        )

    # What callers do, from any thread.

    def start(self) -> None:
        """Run in two daemon threads from now on."""
        for thread in self._threads:
            thread.start()

    def submit(self, image: Image, listener: Listener) -> None:
        """Accept an image. From here on `listener` will be told exactly once how it ended.

        Raises:
            ValueError: Its id is here already, or no batch could hold it.
            EngineClosed: The engine drains, was stopped or (`EngineDead`) died.
        """
        with self._changed:
            if self._refusal is not None:
                raise self._refusal()
            if image.id in self._tickets:
                raise ValueError(f"image {image.id!r} is here already")
            self._steps.wake()
            self._scheduler.add(image)
            self._tickets[image.id] = Ticket(image, listener)
            self._changed.notify_all()

    def cancel(self, image_id: str) -> bool:
        """End an image now: it takes part in no further step, and what is being made of it is dropped.

        Returns:
            Whether it was still on its way.
        """
        with self._changed:
            ticket = self._tickets.get(image_id)
            if ticket is None:
                return False
            self._scheduler.cancel(ticket.image)
            self._finished.pop(image_id, None)
            self._stats.cancelled += 1
            self._end(ticket, ticket.listener.cancelled)
            return True

    def drain(self, timeout: float | None = None) -> bool:
        """Refuse new images and wait until all accepted ones have ended. Not for listeners to call.

        Returns:
            Whether they have, rather than `timeout` seconds have passed.
        """
        with self._changed:
            self._refusal = self._refusal or partial(EngineClosed, "the engine drains: it accepts no more images")
            return self._changed.wait_for(lambda: not self._tickets, timeout)

    def stop(self) -> None:
        """End now: fail what is pending, and wait for the step that is running. Not for listeners to call."""
        self._close(partial(EngineClosed, "the engine was stopped"))
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    @property
    def alive(self) -> bool:
        """Whether images can still be made: neither stopped nor dead."""
        return not self._over

    @property
    def heartbeat_age(self) -> float:
        """Seconds for which there was work and none was done; never waits for a lock."""
        return max(self._steps.age, self._finishes.age)

    @property
    def stats(self) -> Stats:
        """A snapshot."""
        with self._changed:
            return replace(
                self._stats,
                waiting=self._scheduler.waiting,
                running=self._scheduler.running,
                finishing=len(self._finished) + self._finishing,
            )

    # What the step thread does.

    def step(self) -> bool:
        """One step of the key whose turn it is. Returns whether there was one."""
        if (batch := self._schedule()) is None:
            return False
        outcomes = self._run(batch)
        finished = self._postprocess(batch, outcomes)
        self._collect(finished)
        return True

    def _schedule(self) -> Batch | None:
        """The next batch, if there is one; its newcomers hear that they have started."""
        with self._changed:
            batch = None if self._over else self._scheduler.schedule()
            if batch is not None:
                self._stepping = True
                self._steps.beat()
                joined = zip(batch.images, batch.states, strict=True)
                for ticket in [self._tickets[image.id] for image, state in joined if state is UNSTARTED]:
                    self._say(ticket, ticket.listener.started)
            return batch

    def _run(self, batch: Batch) -> list[object]:
        """Start the newcomers, then step everyone: for each image its new state, or a `Failure`."""
        states = list(batch.states)

        def start(places: Sequence[int]) -> list[object]:
            return self._model.start([batch.images[i] for i in places])

        def step(places: Sequence[int]) -> list[object]:
            return self._model.step(self._scheduler.pack(batch.key, [(batch.images[i], states[i]) for i in places]))

        newcomers = [i for i, state in enumerate(states) if state is UNSTARTED]
        for i, state in zip(newcomers, isolate(start, newcomers), strict=True):
            states[i] = state
        healthy = [i for i, state in enumerate(states) if not isinstance(state, Failure)]
        for i, state in zip(healthy, isolate(step, healthy), strict=True):
            states[i] = state
        return states

    def _postprocess(self, batch: Batch, outcomes: list[object]) -> list[Finished]:
        """Let the scheduler and the listeners know; returns the images that have had their last step."""
        with self._changed:
            self._count(batch, self._clock() - self._steps.since)
            moves = [(self._tickets[move.image.id], move) for move in self._scheduler.commit(batch, outcomes)]
            for ticket, move in moves:
                if isinstance(move.outcome, Failure):
                    self._fail(ticket, move.outcome.error)
                else:
                    self._say(ticket, ticket.listener.stepped, move.done, move.image.steps)
            self._steps.beat()
            self._stepping = False
            return [Finished(ticket, move.outcome) for ticket, move in moves if move.last]

    def _collect(self, finished: list[Finished]) -> None:
        """Hand over to the finish thread."""
        with self._changed:
            self._finishes.wake()
            self._finished |= {one.ticket.image.id: one for one in finished if self._holds(one.ticket)}
            self._changed.notify_all()

    def _count(self, batch: Batch, seconds: float) -> None:
        self._stats.steps += 1
        self._stats.rows += batch.rows
        self._stats.padding += batch.bucket - batch.rows
        self._stats.step_seconds += seconds
        self._stats.bucket = batch.bucket
        if self._observer is not None:
            _call(self._observer, batch, seconds)

    # What the finish thread does.

    def finish(self) -> bool:
        """Finish the images that have waited longest, of one key. Returns whether there were any."""
        if not (finished := self._gather()):
            return False
        key = finished[0].ticket.image.key
        results = isolate(lambda states: self._model.finish(key, states), [one.state for one in finished])
        self._deliver(finished, results)
        return True

    def _gather(self) -> list[Finished]:
        """The oldest and those that can be finished with it, at most `decode_cap`."""
        with self._changed:
            queue = list(self._finished.values())
            mates = [one for one in queue if one.ticket.image.key == queue[0].ticket.image.key][: self._decode_cap]
            for one in mates:
                del self._finished[one.ticket.image.id]
            self._finishing = len(mates)
            self._finishes.beat()
            return mates

    def _deliver(self, finished: list[Finished], results: list[object]) -> None:
        """Tell the listeners of those that were not cancelled meanwhile."""
        with self._changed:
            for ticket, result in zip([one.ticket for one in finished], results, strict=True):
                if isinstance(result, Failure):
                    self._fail(ticket, result.error)
                elif self._holds(ticket):
                    self._stats.finished += 1
                    self._end(ticket, ticket.listener.finished, result)
            self._finishing = 0
            self._finishes.beat()

    # What both threads do.

    def _loop(self, work: Callable[[], bool], ready: Callable[[], bool]) -> None:
        try:
            while self._wait(ready):
                work()
        except BaseException as cause:
            log.critical("the engine died", exc_info=True)
            self._close(partial(EngineDead, f"the engine died: {cause!r}"))

    def _wait(self, ready: Callable[[], bool]) -> bool:
        """Sleep until there is work or the end has come; returns whether it is work."""
        with self._changed:
            self._changed.wait_for(lambda: self._over or ready())
            return not self._over

    def _close(self, refusal: Callable[[], EngineClosed]) -> None:
        """Refuse everything from now on, and fail all that is pending. Who closes first gives the reason."""
        if self._over:
            return
        self._over = True  # before the lock: health checks must see it whoever holds that
        with self._changed:
            self._refusal = refusal
            for ticket in list(self._tickets.values()):
                with suppress(BaseException):  # everyone is told, whatever the others do
                    self._fail(ticket, refusal())
            self._changed.notify_all()

    # Telling. Under the lock.

    def _holds(self, ticket: Ticket) -> bool:
        """Whether the ticket's listener still waits for an end."""
        return self._tickets.get(ticket.image.id) is ticket

    def _say(self, ticket: Ticket, event: Callable[[Image, *Ts], object], *about: *Ts) -> None:
        if self._holds(ticket):
            _call(event, ticket.image, *about)

    def _end(self, ticket: Ticket, event: Callable[[Image, *Ts], object], *about: *Ts) -> None:
        del self._tickets[ticket.image.id]
        self._changed.notify_all()
        _call(event, ticket.image, *about)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        if self._holds(ticket):
            self._stats.failed += 1
            self._end(ticket, ticket.listener.failed, error)


def _call(event: Callable[[*Ts], object], *about: *Ts) -> None:
    try:
        event(*about)
    except Exception:
        log.exception("%r raised; the engine goes on without it", event)
