"""A result that is no single number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


def text(cell: str | float) -> str:
    """A cell as it is shown."""
    return cell if isinstance(cell, str) else f"{cell:.3g}" if isinstance(cell, float) else str(cell)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text and numbers under a title."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]

    def markdown(self, show: Callable[[str | float], str] = text) -> str:
        """Without the title; cells as `show` has them."""
        lines = ["| " + " | ".join(self.columns) + " |", "|" + " --- |" * len(self.columns)]
        return "\n".join([*lines, *("| " + " | ".join(map(show, row)) + " |" for row in self.rows)])
