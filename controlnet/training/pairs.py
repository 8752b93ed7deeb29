"""Your own pairs: control map, picture and words, in the layout of fill50k, the original's tutorial set."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from controlnet import pictures
from controlnet.annotators import make_map, resize
from controlnet.pixels import Bytes
from controlnet.training.data import digest_of

TOLD = 10
"""Faults that an error lists; of the others it tells the number."""

FIELDS = ("source", "target", "prompt")
ASPECTS_DIFFER = 0.02
"""Of source and target, relative: more is another picture, less is what rounding does to a resized one."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of `prompt.json`.

    Attributes:
        line: its number, from 1.
        source: file of the control map.
        target: file of the picture.
        prompt: words.
    """

    line: int
    source: Path
    target: Path
    prompt: str


class JsonLinesPairs:
    """Pairs that `prompt.json` lists, one JSON object a line: `{"source": ..., "target": ..., "prompt": ...}`.

    `source` and `target` are paths in the folder. Pictures of another shape are cropped about their middle, never
    squeezed; sources are resized as the maps that a platform is given (`controlnet.annotators.make_map`).

    Args:
        folder: holds `prompt.json` and the pictures.
        height: of every picture.
        width: likewise.

    Raises:
        ValueError: a line is no such object, a file is missing or no picture, or a source has another shape than its
            target: the first ten of all faults, each with its line.
    """

    def __init__(self, folder: Path, height: int, width: int) -> None:
        self._folder, self._size = folder, (height, width)
        self.listing = folder / "prompt.json"
        faults: list[str] = []
        self._pairs = list(self._rows(faults))
        if not faults:
            faults += self._each(_shapes)
        self._refuse(faults)
        if not self._pairs:
            raise ValueError(f"{self.listing} lists no pairs")

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self._pairs)

    @cached_property
    def state(self) -> str:
        """Names, times and sizes of all files, and the size they are read at."""
        files = [self.listing, *(file for pair in self._pairs for file in (pair.target, pair.source))]
        stats = [(str(file), file.stat()) for file in files]  # a row may name a file elsewhere
        seen = [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]
        return repr((str(self._folder.resolve()), self._size, seen))

    @property
    def digest(self) -> str:
        """Of the listing and the contents of its files, in its order."""
        files = [
            (kind, file) for pair in self._pairs for kind, file in (("source", pair.source), ("target", pair.target))
        ]
        return digest_of([("prompt.json", self.listing), *files])

    def check(self) -> None:
        """Decode every file.

        Raises:
            ValueError: some are damaged or cut short: the first ten of them, each with its line.
        """
        self._refuse(self._each(_damage))

    def image(self, index: int) -> Bytes:
        """Return the target, [height, width, 3] RGB."""
        return resize(self._cropped(pictures.read(self._pairs[index].target)), *self._size)

    def captions(self, index: int) -> Sequence[str]:
        """Return the one prompt."""
        return (self._pairs[index].prompt,)

    def mask(self, index: int) -> Bytes:
        """Return ones: nothing is known about where a reconstruction matters more."""
        return np.ones(self._size, np.uint8)

    def hint(self, index: int, rng: np.random.Generator) -> Bytes:
        """Return the source, [height, width, 3]; it is the same each time."""
        height, width = self._size
        source = pictures.read(self._pairs[index].source, is_map=True)
        return make_map(self._cropped(source), "none", {}, width, height)

    def _cropped(self, picture: Bytes) -> Bytes:
        """The largest part about the middle that has the shape asked for."""
        have, want = picture.shape[:2], self._size
        scale = min(have[0] / want[0], have[1] / want[1])
        height, width = (max(1, round(side * scale)) for side in want)
        top, left = (have[0] - height) // 2, (have[1] - width) // 2
        return picture[top : top + height, left : left + width]

    def _rows(self, faults: list[str]) -> Iterator[Pair]:
        try:
            text = self.listing.read_bytes().decode("utf-8-sig")
        except OSError as error:
            raise ValueError(f"{self.listing}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.listing} is not UTF-8 at byte {error.start}") from error
        # Only a line feed ends a line: strings may hold the other characters that `splitlines` splits at.
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                faults.append(f"line {number} is no JSON: {error}")
                continue
            texts = [row.get(name) for name in FIELDS] if isinstance(row, dict) else []
            wrong = [name for name, text in zip(FIELDS, texts, strict=False) if not isinstance(text, str)]
            if wrong or not texts:
                what = f"{' and '.join(wrong)} must be text" if texts else "it must be an object"
                faults.append(f"line {number} is {line[:60]!r}: {what}")
                continue
            yield Pair(number, self._folder / row["source"], self._folder / row["target"], row["prompt"])

    def _each(self, fault: Callable[[Pair], str]) -> list[str]:
        """What is wrong with each pair that something is wrong with."""
        with ThreadPoolExecutor() as pool:  # reading and decoding leave the interpreter's lock
            found = zip(self._pairs, pool.map(fault, self._pairs), strict=True)
            return [f"line {pair.line}: {what}" for pair, what in found if what]

    def _refuse(self, faults: Sequence[str]) -> None:
        if faults:
            noun = "fault" if len(faults) == 1 else "faults"
            more = f"\n... and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
            raise ValueError("\n".join([f"{self.listing} has {len(faults)} {noun}:", *faults[:TOLD]]) + more)


def _shapes(pair: Pair) -> str:
    try:
        (source_w, source_h), (target_w, target_h) = pictures.measure(pair.source), pictures.measure(pair.target)
    except ValueError as error:
        return str(error)
    if abs(source_w * target_h / (source_h * target_w) - 1) > ASPECTS_DIFFER:
        return f"source is {source_w}x{source_h}, target {target_w}x{target_h}: they must have one shape"
    return ""


def _damage(pair: Pair) -> str:
    try:
        for file in (pair.source, pair.target):
            pictures.read(file)
    except ValueError as error:
        return str(error)
    return ""
