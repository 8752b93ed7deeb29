"""Which representation a client gets."""

from __future__ import annotations

import pytest

from serve.api.answers import JSON, PNG, ZIP, choose
from serve.errors import NotAcceptable


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("image/*", PNG),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("application/zip", ZIP),
        ("application/json;q=0.5, application/zip", ZIP),
        ("application/json;q=0, */*", PNG),
        ("image/png;q=0.4, application/zip;q=0.3", PNG),
        ("text/html, */*;q=0.1", JSON),
        ("image/webp,image/png;q=0.9,*/*;q=0.8", PNG),
        ("application/json;q=nonsense, image/png", PNG),
        ("image/png, application/json;q=nan", PNG),
    ],
)
def test_the_best_liked(accept: str | None, media: str) -> None:
    assert choose(accept) == media


@pytest.mark.parametrize("accept", ["text/html", "image/webp", "*/*;q=0", "nonsense", ";;;", "image/png;q=7"])
def test_none_liked(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose(accept)
