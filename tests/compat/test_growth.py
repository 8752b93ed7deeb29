from __future__ import annotations

from typing import Any

import pytest

from tests.compat.growth import lost

SAID: dict[str, Any] = {
    "state": "queued",
    "n": 1,
    "position": 3,
    "detail": "No.",
    "images": [{"index": 0}],
    "error": None,
}


def test_what_is_added_is_no_loss() -> None:
    now = SAID | {"more": 1, "images": [{"index": 0, "id": "img_0"}], "position": 1, "detail": "Not now."}
    assert list(lost(SAID, now)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"state": "waiting"}, "/state was 'queued', is 'waiting'"),
        ({"n": "1"}, "/n was 1, is '1'"),
        ({"images": [{}]}, "/images/0/index is gone"),
        ({"images": []}, "/images was [{'index': 0}], is []"),
        ({"error": {}}, "/error was None, is {}"),
    ],
)
def test_what_says_something_else_is_one(change: dict[str, Any], expected: str) -> None:
    assert list(lost(SAID, SAID | change)) == [expected]


@pytest.mark.parametrize("name", SAID)
def test_what_is_gone_is_one(name: str) -> None:
    assert list(lost(SAID, {key: value for key, value in SAID.items() if key != name})) == [f"/{name} is gone"]
