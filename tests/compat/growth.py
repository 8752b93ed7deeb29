"""What an answer of today must still say of what a release said: everything, and it may say more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PROSE = frozenset({"title", "detail", "description"})
"""Words for people, which may be put better."""

FREE = frozenset({"position", "predicted_s"})
"""Estimates, which may become better."""


def lost(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """Each member of `before` that is not there any more, or says something else. A `detail` may be worded anew."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            here = f"{place}/{name}"
            if name not in now:
                yield f"{here} is gone"
            elif name in FREE or (name in PROSE and isinstance(value, str) and isinstance(now[name], str)):
                continue
            else:
                yield from lost(value, now[name], here)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for i, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from lost(one, other, f"{place}/{i}")
    elif before != now:
        yield f"{place} was {before!r}, is {now!r}"
