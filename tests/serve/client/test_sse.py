"""The examples of the WHATWG standard, section 9.2, and what they leave out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.client.sse import Message, Parser


def parse(data: bytes | str, last_id: str = "") -> tuple[list[tuple[str, str]], str]:
    parser = Parser(last_id)
    found = list(parser.push(data.encode() if isinstance(data, str) else data))
    return [(message.event, message.data) for message in found], parser.last_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
        (": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event", None),
        ("data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
        ("data:test\n\ndata: test\n\n", [("message", "test"), ("message", "test")]),
        ("event: add\ndata: 1\n\ndata: 2\n\n", [("add", "1"), ("message", "2")]),
    ],
)
def test_the_examples_of_the_standard(text: str, expected: list[tuple[str, str]] | None) -> None:
    expected = expected or [("message", "first event"), ("message", "second event")]
    assert parse(text)[0] == expected


def test_an_event_without_data_is_none() -> None:
    assert parse("event: lonely\nid: 3\n\ndata: x\n\n") == ([("message", "x")], "3")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_end_in_three_ways(end: str) -> None:
    assert parse(f"event: a{end}data: b{end}{end}")[0] == [("a", "b")]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert parse(b"\xef\xbb\xbfdata: x\n\n")[0] == [("message", "x")]


def test_only_a_first_space_is_cut() -> None:
    assert parse("data:   x \n\n")[0] == [("message", "  x ")]


def test_other_line_separators_are_data() -> None:
    assert parse("data: a\u2028b\x0bc\x85d\n\n")[0] == [("message", "a\u2028b\x0bc\x85d")]


def test_unknown_fields_and_comments_are_let_by() -> None:
    assert parse(": keep-alive\nfoo: bar\nDATA: no\ndata: x\n\n")[0] == [("message", "x")]


def test_the_last_id_is_kept_by_events_without_one() -> None:
    assert parse("id: 7\ndata: a\n\ndata: b\n\n")[1] == "7"


def test_an_empty_id_resets_it() -> None:
    assert parse("id\ndata: a\n\n", last_id="7")[1] == ""


def test_an_id_with_a_null_is_let_by() -> None:
    assert parse("id: 8\0\ndata: a\n\n", last_id="7")[1] == "7"


def test_an_id_counts_when_its_event_is_complete() -> None:
    assert parse("id: 8\ndata: a\n", last_id="7") == ([], "7")


@pytest.mark.parametrize(
    ("value", "expected"), [("1500", 1500), ("1.5", None), ("-1", None), ("", None), ("\u00b2", None)]
)
def test_retry_is_digits(value: str, expected: int | None) -> None:
    parser = Parser()
    list(parser.push(f"retry: {value}\n\n".encode()))
    assert parser.retry_ms == expected


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert parse(b"data: a\xffb\n\n")[0] == [("message", "a\ufffdb")]


STREAM = (
    "\ufeffid: 1\r\nevent: \u00e9\rdata: \u65e5\u672c\n\n\r\n: c\r\r"
    "data: x\r\ndata: y\r\n\r\ndata: z\n\nretry: 5\ndata: w\r\r"
).encode()
WHOLE = [Message("\u00e9", "\u65e5\u672c"), *(Message("message", data) for data in ("x\ny", "z", "w"))]


@given(st.lists(st.integers(0, len(STREAM)), max_size=len(STREAM)).map(sorted))
def test_it_does_not_matter_how_bytes_are_cut(cuts: list[int]) -> None:
    parser, found = Parser(), []
    for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        found += parser.push(STREAM[start:end])
    assert found == WHOLE
    assert (parser.last_id, parser.retry_ms) == ("1", 5)
