"""What callers share while they make their requests: plan, clock, keys, pictures; and what an answer is."""

from __future__ import annotations

import base64
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.load.plan import KEYS, End, Outcome, Plan
from ops.load.trace import Request


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; status 0 is no answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    error: str = ""

    @property
    def ok(self) -> bool:
        """It did what it was asked to."""
        return 200 <= self.status < 300

    @property
    def json(self) -> dict[str, Any]:
        """The body; nothing where it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def what(self) -> str:
        """Status and type of problem, for tables."""
        if not self.status:
            return self.error
        return f"{self.status} {str(self.json.get('type', '')).rsplit('/', 1)[-1]}".strip()

    @property
    def passing(self) -> bool:
        """The same call may go better in a moment."""
        return self.status in (0, 502, 503) or (self.status == 409 and "retry-after" in self.headers)


class Ended(Exception):
    """The request is over."""

    def __init__(self, end: End, reason: str = "") -> None:
        super().__init__(end, reason)
        self.end: End = end
        self.reason = reason


@dataclass(slots=True)
class Scene:
    """What callers share.

    Attributes:
        plan: Of this run.
        began: Monotonic.
        tell: Given each outcome.
        waiting: Requests that are due, each for the caller who is started next.
        maps: Ids of maps by team, picture and size.
        open: Jobs that have not ended, with their teams.
    """

    plan: Plan
    began: float
    tell: Callable[[Outcome], None]
    waiting: deque[Request] = field(default_factory=deque)
    maps: dict[tuple[str, int, int], str] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    _pictures: dict[int, str] = field(default_factory=dict)
    _keys: Mapping[str, str] = field(default_factory=dict)
    _keys_of: int = 0

    def now(self) -> float:
        """Seconds from the start."""
        return time.monotonic() - self.began

    def key(self, tenant: str) -> str:
        """The key that is good now."""
        changed = self.plan.keys.stat().st_mtime_ns
        if changed != self._keys_of:
            self._keys, self._keys_of = KEYS.validate_json(self.plan.keys.read_bytes()), changed
        return self._keys[tenant]

    def picture(self, number: int) -> str:
        """A photograph, base64."""
        if number not in self._pictures:
            self._pictures[number] = base64.b64encode((self.plan.pictures / f"{number}.jpg").read_bytes()).decode()
        return self._pictures[number]
