"""What is away comes back: the store, the artifacts, the registry. Whoever needs them waits, and calls again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serve.jobs.database import StoreUnavailable
from serve.registry.registry import RegistryUnreachable

T = TypeVar("T")


def cause_of(error: BaseException) -> BaseException:
    """What was raised, out of Ray's wrapping where another replica raised it; twice, where that was told by a third."""
    while isinstance(cause := getattr(error, "cause", None), BaseException):
        error = cause
    return error


def pause_after(times: int, first: float, longest: float) -> float:
    """Seconds to wait after so many failures in a row: `first` after one, twice as long after each further one."""
    return min(first * 2.0 ** min(times - 1, 10), longest)


async def wait_out(
    call: Callable[[], Awaitable[T]], told: Callable[[Exception], object], pause: float = 0.25, most: float = 8.0
) -> T:
    """Call until nothing that it needs is away.

    Args:
        call: Is made again as long as it finds something away.
        told: Of each time that it did.
        pause: Seconds before the second call; twice as long before each one after that.
        most: Seconds between calls.

    Raises:
        Exception: What else the call raised.
    """
    while True:
        try:
            return await call()
        except Exception as error:
            if not isinstance(cause_of(error), StoreUnavailable | RegistryUnreachable):
                raise
            told(error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, most)
