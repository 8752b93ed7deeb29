"""What is done to a platform while it is soaked: promotions, key rotations, kills."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType

from ops.faults.changes import promote
from ops.faults.rig import ROLES, Rig, answers
from ops.load.calibration import Target
from ops.load.plan import KEYS
from ops.load.teams import rotate, write_keys

ORDER = (
    "rotate",
    "kill sampler",
    "promote",
    "kill api",
    "rotate",
    "kill imaging",
    "promote",
    "kill dispatcher",
)
"""Over and over."""

GRACE_S = 60.0
"""For which a rotated key is still good: callers read the new one before each call, streams lose theirs and resume."""

BACK_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class Deed:
    """One of them.

    Attributes:
        at: Seconds from the start.
        until: When it was over: who was killed is there again, and the API is ready.
        failed: Why it could not be done.
    """

    at: float
    until: float
    kind: str
    failed: str = ""

    @property
    def kill(self) -> bool:
        """Whether answers may be missing meanwhile."""
        return self.kind.startswith("kill")


@dataclass(slots=True)
class Deeds:
    """Does one after the other, in a thread of its own, at equal distances.

    Args:
        rig: To whom.
        target: Whose keys are rotated.
        admins: Keys that may.
        every: Seconds from one to the next.
        last: None is due after so many seconds.
        now: Seconds from the start.
        say: Told of each.

    Attributes:
        done: So far.
    """

    rig: Rig
    target: Target
    admins: Mapping[str, str]
    every: float
    last: float
    now: Callable[[], float]
    say: Callable[[str], None]
    done: list[Deed] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Deeds:
        self._thread = threading.Thread(target=self._work, name="deeds", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self._over.set()  # otherwise what is due is done, however slow the machine is
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        for number, kind in enumerate(cycle(ORDER), start=1):
            due = number * self.every
            if due > self.last or self._over.wait(max(0.0, due - self.now())):
                return
            at, failed = self.now(), ""
            try:
                self._do(kind)
            except Exception as error:  # a deed that fails is a line of the report; the soak goes on
                failed = repr(error)
            self.done.append(Deed(at, self.now(), kind, failed))
            self.say(f"{at:6.0f} s  {kind}, {self.now() - at:.1f} s{f': {failed}' if failed else ''}")

    def _do(self, kind: str) -> None:
        if kind == "promote":
            promote(self.rig)
        elif kind == "rotate":
            self._rotate()
        else:
            self._kill(kind.removeprefix("kill "))

    def _rotate(self) -> None:
        """The keys of one team's callers, over the API; the teams take turns."""
        keys = dict(KEYS.validate_json(self.target.keys.read_bytes()))
        team = sorted(keys)[sum(deed.kind == "rotate" for deed in self.done) % len(keys)]
        keys[team] = rotate(self.target.url, self.admins[team], keys[team], GRACE_S)
        write_keys(self.target.keys, keys)

    def _kill(self, role: str) -> None:
        """`kill -9`, and wait until there is another and the API is ready."""
        assert role in ROLES
        killed = set(self.rig.kill(role))
        deadline = time.monotonic() + BACK_WITHIN_S
        while not (set(self.rig.processes(role)) - killed and answers(f"{self.target.url}/readyz")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {role} {BACK_WITHIN_S:.0f} s after")
            if self._over.wait(0.1):
                return
