"""Ten thousand hostile pictures: each becomes a picture or an error that names the field, and hurts nobody."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serve.api import pictures
from serve.api.pictures import read_header
from serve.errors import InvalidRequest, ServeError, UnsupportedMedia
from serve.imaging.decode import MEMORY, Decoder
from tests.serve.imaging import corpus

FIELD = "controls.0.image"
MAX_PIXELS = 40_000_000  # as in the settings
MOST_READS = 10 * pictures.MOST_PARTS
CRAFTED = corpus.crafted()


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    """The real child under its real bounds."""
    with Decoder(MAX_PIXELS, MEMORY) as decoder:
        yield decoder


def outcome(decoder: Decoder, data: bytes) -> str:
    """`taken`, or why not, in two words."""
    child, refusal = decoder.pid, None
    try:
        pixels = decoder.decode(data, FIELD)
    except ServeError as error:
        refusal = error
    assert decoder.pid == child, "the child did not survive it"
    if refusal is not None:
        assert type(refusal) in (InvalidRequest, UnsupportedMedia)
        assert refusal.field == FIELD
        assert "took longer" not in refusal.detail
        return type(refusal).__name__
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS
    return "taken"


@pytest.mark.parametrize("name", corpus.seeds())
def test_what_the_corpus_grows_from_is_honest(decoder: Decoder, name: str) -> None:
    assert outcome(decoder, corpus.seeds()[name]) == "taken"


@pytest.mark.parametrize("name", CRAFTED)
def test_a_trick_is_harmless(decoder: Decoder, name: str) -> None:
    assert (outcome(decoder, CRAFTED[name]) == "taken") == name.startswith("taken")


def test_ten_thousand_broken_pictures_are_harmless(decoder: Decoder) -> None:
    """One test, because ten thousand would be a report that nobody reads; a failure's name says which it was."""
    found: Counter[str] = Counter()
    for name, data in corpus.mutated(corpus.SIZE):
        try:
            found[outcome(decoder, data)] += 1
        except AssertionError as error:
            raise AssertionError(name) from error
    assert sum(found.values()) == corpus.SIZE
    # What is all alike tests one thing ten thousand times.
    assert min(found["taken"], found["InvalidRequest"], found["UnsupportedMedia"]) > corpus.SIZE // 20


def test_the_child_stays_small(decoder: Decoder) -> None:
    """After all of the above: what its header betrays was never made room for."""
    outcome(decoder, CRAFTED["a bomb of zeros"])
    status = Path(f"/proc/{decoder.pid}/status").read_text()
    (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak << 10 < MEMORY // 2


def test_the_api_reads_headers_in_few_steps_whatever_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads them in its own process, by Pillow, which is Python there: what costs time are calls, not bytes."""
    reads = 0

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    monkeypatch.setattr(pictures.io, "BytesIO", Counted)
    for name, data in [*CRAFTED.items(), *corpus.mutated(corpus.SIZE)]:
        reads = 0
        with contextlib.suppress(InvalidRequest, UnsupportedMedia):
            read_header(data, FIELD, MAX_PIXELS)
        assert reads < MOST_READS, name
