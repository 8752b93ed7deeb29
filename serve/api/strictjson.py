"""JSON from strangers: one meaning or an error, in time and memory bounded by its length.

Python's reader takes NaN, duplicate keys (the last wins), nesting until the stack ends, and lone surrogates that no
database can store. None of that is taken here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from serve.api.problems import InvalidFields
from serve.errors import MalformedRequest

MAX_DEPTH = 16
MAX_TOKENS = 20_000
"""Strings, brackets and commas together: 32 MiB of `[[],[],...` would become gigabytes of lists."""

# Strings are skipped whole; an unterminated one ends the scan, so that the scan is linear whatever is sent.
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def loads(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        MalformedRequest: Not UTF-8, not JSON, no object, NaN or Infinity, a key twice, too deep, too many values, a
            huge integer.
        InvalidFields: A text holds NUL or half a surrogate pair: names the fields.
    """
    _check_shape(data)
    try:
        parsed = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The JSON is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            f"The JSON can't be read at line {error.lineno}, column {error.colno}: {error.msg}."
        ) from None
    except ValueError:  # the integer is longer than Python converts
        raise MalformedRequest("The JSON holds an integer with too many digits.") from None
    if not isinstance(parsed, dict):
        raise MalformedRequest("The JSON must be an object.")
    faults = [(place, "must not hold NUL or half a surrogate pair") for place in _unstorable(parsed, "")]
    if faults:
        raise InvalidFields(faults[:20])
    return parsed


def check_text(text: str, field: str) -> None:
    """Refuse what a database can't store, for texts that don't come as JSON."""
    if _UNSTORABLE.search(text):
        raise InvalidFields([(field, "must not hold NUL or half a surrogate pair")])


def _check_shape(data: bytes) -> None:
    depth = 0
    for count, token in enumerate(_TOKENS.finditer(data)):
        if count == MAX_TOKENS:
            raise MalformedRequest(f"The JSON has more than {MAX_TOKENS} strings, brackets and commas.")
        kind = data[token.start() : token.start() + 1]
        if kind in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedRequest(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
        elif kind in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise MalformedRequest(f"The JSON has the key {key[:80]!r} twice in one object.")
        table[key] = value
    return table


def _refuse(constant: str) -> float:
    raise MalformedRequest(f"{constant} is not JSON: numbers must be finite.")


def _unstorable(value: object, place: str) -> Iterator[str]:
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield place
    elif isinstance(value, dict):
        for key, item in value.items():
            if _UNSTORABLE.search(key):
                yield f"{place}.{key!a}".lstrip(".")
            yield from _unstorable(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, f"{place}.{index}")
