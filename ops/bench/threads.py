"""One pool of OpenMP threads at a time.

Each thread that calls torch gets a pool of its own, which stays until the thread ends. When the pools together hold
more threads than there are cores, GNU's OpenMP lets all of them sleep at every barrier instead of spinning for a
moment, and a small step takes three times as long. So whatever is timed runs in a thread that ends with it, and what
calls it computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def alone(call: Callable[[], T]) -> T:
    """The result of a call in a thread that ends with it."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="alone") as thread:
        return thread.submit(call).result()
