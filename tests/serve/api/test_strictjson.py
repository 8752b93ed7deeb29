"""JSON from strangers."""

from __future__ import annotations

import time

import pytest

from serve.api import strictjson
from serve.api.problems import InvalidFields
from serve.errors import MalformedRequest


def test_plain_json_is_read() -> None:
    assert strictjson.loads('{"a": [1, 2.5, "é", "[[["], "b": {"c": null}}'.encode()) == {
        "a": [1, 2.5, "é", "[[["],
        "b": {"c": None},
    }


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1"),
        (b"{", "line 1"),
        (b"{} {}", "Extra data"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"text"', "object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": Infinity}', "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"b": {"a": 1, "a": 1}}', "twice"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a": ' + b"[" * 20 + b"]" * 20 + b"}", "deeper"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a": [' + b"1," * 30_000 + b"1]}", "more than 20000"),
        (b'{"a": "\x00"}', "Invalid control character"),
    ],
)
def test_anything_else_is_malformed(data: bytes, words: str) -> None:
    with pytest.raises(MalformedRequest, match=words):
        strictjson.loads(data)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b'{"prompt": "a\\u0000b"}', "prompt"),
        (b'{"prompt": "\\ud800"}', "prompt"),
        (b'{"controls": [{}, {"type": "\\udc00"}]}', "controls.1.type"),
        (b'{"a\\u0000": 1}', "'a\\x00'"),
    ],
)
def test_texts_that_no_database_stores_are_named(data: bytes, field: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        strictjson.loads(data)
    assert caught.value.errors[0][0] == field


def test_a_surrogate_pair_is_one_character() -> None:
    assert strictjson.loads(b'{"prompt": "\\ud83d\\ude00"}') == {"prompt": "\U0001f600"}


@pytest.mark.parametrize("data", [b'{"a": "' + b'\\"' * 500_000, b"[" * 1_000_000, b'"' * 1_000_000, b"\\" * 1_000_000])
def test_time_is_linear_in_the_length(data: bytes) -> None:
    began = time.process_time()
    with pytest.raises(MalformedRequest):
        strictjson.loads(data)
    assert time.process_time() - began < 2.0  # quadratic would be minutes
