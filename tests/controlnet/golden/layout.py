"""Layouts of the original's checkpoints: the name and shape of every key, a key a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FULL = Path(__file__).with_name("control_sd15.layout.txt")
SMALL = Path(__file__).with_name("ldm-v15.layout.txt")

Layout = Mapping[str, tuple[int, ...]]


def read(file: Path) -> Layout:
    """Shapes by key."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {key: tuple(map(int, shape)) for key, *shape in lines}


def write(layout: Layout, file: Path) -> None:
    """Write shapes by key."""
    file.write_text("".join(f"{key} {' '.join(map(str, shape))}\n" for key, shape in sorted(layout.items())))
