"""How a dispatcher's parts call the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Ask(Protocol):
    """Calls the store, as often as it takes."""

    async def __call__(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """What the store answers."""
