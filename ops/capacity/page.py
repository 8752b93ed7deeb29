"""Tables that commands write into docs/planning.md, each between two marks, and the plots beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ops.bench.table import Table

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "planning.md"
IMAGES = DOCS / "images"


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Write `text` between the marks `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: The page has no such marks.
    """
    before = page.read_text()
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    after, found = pattern.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", before)
    if found != 1:
        raise ValueError(f"{page} has {found} places for {name!r}, not one")
    page.write_text(after)


def put_tables(name: str, tables: Sequence[Table], page: Path = PAGE) -> None:
    """Some tables, one below the other."""
    put(name, "\n\n".join(f"**{table.title}**\n\n{table.markdown(str)}" for table in tables), page)
