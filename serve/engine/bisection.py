"""A bad image fails alone: what raises for many is tried again on each half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from serve.engine.core import Failure

T = TypeVar("T")


def isolate(call: Callable[[Sequence[T]], Sequence[object]], items: Sequence[T]) -> list[object]:
    """`call(items)`, with a `Failure` in the place of each item for which it raises even when that is alone.

    With b bad items among n, about 2b log2(n) calls more than the one.

    Args:
        call: Gives one result per item, in their order, and has no effect where it raises.
        items: It is not called on none.
    """
    if not items:
        return []
    try:
        results = call(items)
        if len(results) != len(items):
            raise RuntimeError(f"{len(results)} results for {len(items)} images")
        return list(results)
    except Exception as error:
        if len(items) == 1:
            return [Failure(error)]
    # Outside the `except`: there the traceback would keep the failed batch's memory while the halves need it.
    middle = len(items) // 2
    return isolate(call, items[:middle]) + isolate(call, items[middle:])
