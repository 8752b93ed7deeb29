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

from serve.engine.bisection import isolate
from serve.engine.core import UNSTARTED, Batch, EngineClosed, EngineDead, Failure, Image, Listener, Model, Stats
from serve.engine.pulse import Pulse
from serve.engine.scheduler import Scheduler
from serve.engine.tickets import Ticket, Tickets

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """An image past its last step, on its way to the finish thread."""

    ticket: Ticket
    state: object


class Engine:
    """Step-level continuous batching.

    Images join at the next step of their key and leave when their own steps are done. `start()` runs the engine in
    daemon threads; without it, whoever calls `step()` and `finish()` is the engine.

    Args:
        model: Starts, steps and finishes images.
        scheduler: Picks the batches; the engine's alone from here on.
        clock: Monotonic seconds.
        decode_cap: Most images that are finished at once.
        apart: Whether images are finished in a thread of their own while the next steps go on. Where both take the
            same cores they only get in each other's way, and one thread does better by taking turns.
        observer: Told each step's batch and seconds by the step thread; like a listener it must be quick.
    """

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        clock: Callable[[], float] = time.monotonic,
        *,
        decode_cap: int = 8,
        apart: bool = True,
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
        self._tickets = Tickets()
        self._stepping = False  # the model has a batch
        self._finished: list[Finished] = []  # for the finish thread, oldest first
        self._finishing = 0  # images that the model is finishing
        self._refusal: Callable[[], EngineClosed] | None = None  # why nothing more is accepted
        self._over = False

        self._stats = Stats()
        self._step_pulse = Pulse(clock, lambda: self._stepping or scheduler.busy)
        self._finish_pulse = Pulse(clock, lambda: bool(self._finishing or self._finished))
        lanes: dict[str, tuple[Callable[[], object], Callable[[], bool]]]
        if apart:
            lanes = {"step": (self.step, lambda: scheduler.busy), "finish": (self.finish, lambda: bool(self._finished))}
        else:
            lanes = {"turns": (self._take_turns, lambda: scheduler.busy or bool(self._finished))}
        self._threads = [
            threading.Thread(target=self._loop, args=lane, name=f"engine-{name}", daemon=True)
            for name, lane in lanes.items()
        ]

    # What anyone may call, from any thread.

    def start(self) -> None:
        """Run in daemon threads from now on."""
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
            self._step_pulse.wake()
            self._scheduler.add(image)
            self._tickets.add(image, listener)
            self._changed.notify_all()

    def cancel(self, image_id: str) -> bool:
        """End an image now: it takes part in no further step, and what is being made of it is dropped.

        Returns:
            Whether it was still on its way.
        """
        with self._changed:
            if image_id not in self._tickets:
                return False
            ticket = self._tickets[image_id]
            self._scheduler.cancel(ticket.image)
            self._finished = [one for one in self._finished if one.ticket is not ticket]
            self._tickets.cancel(ticket)
            self._changed.notify_all()
            return True

    def drain(self, timeout: float | None = None) -> bool:
        """Refuse new images and wait until all accepted ones have ended. Not for listeners to call.

        Returns:
            Whether they have, before `timeout` seconds passed.
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

    def give_up(self, reason: str) -> None:
        """End with `EngineDead`, and don't wait for the step that is running: it may never end."""
        self._close(partial(EngineDead, reason))

    @property
    def alive(self) -> bool:
        """Whether images can be made: the engine was not stopped and has not died."""
        return not self._over

    @property
    def heartbeat_age(self) -> float:
        """Seconds for which there was work and none was done; never waits for a lock."""
        return max(self._step_pulse.age, self._finish_pulse.age)

    @property
    def stats(self) -> Stats:
        """A snapshot."""
        with self._changed:
            return replace(
                self._stats,
                finished=self._tickets.finished,
                failed=self._tickets.failed,
                cancelled=self._tickets.cancelled,
                waiting=self._scheduler.waiting,
                running=self._scheduler.running,
                finishing=self._finishing + len(self._finished),
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
                self._step_pulse.beat()
                members = zip(batch.images, batch.states, strict=True)
                for ticket in [self._tickets[image.id] for image, state in members if state is UNSTARTED]:
                    self._tickets.start(ticket)
            return batch

    def _run(self, batch: Batch) -> list[object]:
        """Start the newcomers, then step everyone: for each image its new state, or a `Failure`."""
        began = self._clock()
        states = dict(enumerate(batch.states))

        def start(newcomers: Sequence[int]) -> list[object]:
            return self._model.start([batch.images[i] for i in newcomers])

        def step(healthy: Sequence[int]) -> list[object]:
            return self._model.step(self._scheduler.pack(batch.key, [(batch.images[i], states[i]) for i in healthy]))

        newcomers = [i for i, state in states.items() if state is UNSTARTED]
        states |= zip(newcomers, isolate(start, newcomers), strict=True)
        healthy = [i for i, state in states.items() if not isinstance(state, Failure)]
        states |= zip(healthy, isolate(step, healthy), strict=True)
        self._count(batch, self._clock() - began)
        return list(states.values())

    def _count(self, batch: Batch, seconds: float) -> None:
        with self._changed:
            self._stats.steps += 1
            self._stats.rows += batch.rows
            self._stats.padding += batch.bucket - batch.rows
            self._stats.step_seconds += seconds
            self._stats.bucket = batch.bucket
        if self._observer is not None:
            try:
                self._observer(batch, seconds)
            except Exception:
                log.exception("the observer raised")

    def _postprocess(self, batch: Batch, outcomes: list[object]) -> list[Finished]:
        """Let the scheduler and the listeners know; returns the images that have had their last step."""
        with self._changed:
            moved = [] if self._over else self._scheduler.commit(batch, outcomes)
            moves = [(self._tickets[move.image.id], move) for move in moved]
            for ticket, move in moves:
                if isinstance(move.outcome, Failure):
                    self._tickets.fail(ticket, move.outcome.error)
                else:
                    self._tickets.step(ticket, move.done)
            self._step_pulse.beat()
            self._stepping = False
            return [Finished(ticket, move.outcome) for ticket, move in moves if move.last]

    def _collect(self, finished: list[Finished]) -> None:
        """Hand over to the finish thread."""
        with self._changed:
            self._finish_pulse.wake()
            self._finished += [one for one in finished if self._tickets.holds(one.ticket)]
            self._changed.notify_all()

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
            queue = self._finished
            mates = [one for one in queue if one.ticket.image.key == queue[0].ticket.image.key][: self._decode_cap]
            self._finished = [one for one in queue if one not in mates]
            self._finishing = len(mates)
            self._finish_pulse.beat()
            return mates

    def _deliver(self, finished: list[Finished], results: list[object]) -> None:
        """Tell the listeners of those that were not cancelled meanwhile."""
        with self._changed:
            for one, result in zip(finished, results, strict=True):
                if isinstance(result, Failure):
                    self._tickets.fail(one.ticket, result.error)
                else:
                    self._tickets.finish(one.ticket, result)
            self._finishing = 0
            self._finish_pulse.beat()
            self._changed.notify_all()

    # What the threads do.

    def _take_turns(self) -> None:
        """One step, then the oldest images that wait to be finished."""
        self.step()
        self.finish()

    def _loop(self, work: Callable[[], object], ready: Callable[[], bool]) -> None:
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
            self._finished = []
            for ticket in self._tickets:
                with suppress(BaseException):  # everyone is told, whatever the others do
                    self._tickets.fail(ticket, refusal())
            self._changed.notify_all()
