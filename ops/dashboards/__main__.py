"""`python -m ops.dashboards`: write the JSON that is committed."""

from __future__ import annotations

from ops.dashboards.board import render
from ops.dashboards.boards import BOARDS, FOLDER


def main() -> None:
    """Entry point."""
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(render(board))


if __name__ == "__main__":
    main()
