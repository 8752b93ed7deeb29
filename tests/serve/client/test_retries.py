from __future__ import annotations

import httpx
import pytest

from serve.client.retries import Retries, retry_after_s

RETRIES = Retries(attempts=4, first_s=1.0, longest_s=3.0, patience_s=60.0)


def pause_s(outcome: httpx.Response | httpx.TransportError, attempt: int = 1, **how: bool) -> float | None:
    return RETRIES.pause_s(outcome, attempt, lambda: 0.5, **{"repeatable": True, **how})


@pytest.mark.parametrize(("attempt", "pause"), [(1, 0.5), (2, 1.0), (3, 1.5), (4, None), (5, None)])
def test_pauses_double_to_a_bound_and_end(attempt: int, pause: float | None) -> None:
    assert pause_s(httpx.Response(503), attempt) == pause


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_busy_server_is_asked_again(status: int) -> None:
    assert pause_s(httpx.Response(status)) is not None


@pytest.mark.parametrize("status", [200, 202, 400, 401, 404, 409, 410, 413, 415, 422, 500, 504])
def test_an_answer_is_an_answer(status: int) -> None:
    assert pause_s(httpx.Response(status, headers={"Retry-After": "1"})) is None


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError(""),
        httpx.ConnectTimeout(""),
        httpx.ReadError(""),
        httpx.ReadTimeout(""),
        httpx.WriteError(""),
        httpx.RemoteProtocolError(""),
    ],
)
def test_what_was_lost_on_the_way_is_sent_again(error: httpx.TransportError) -> None:
    assert pause_s(error) is not None


@pytest.mark.parametrize("error", [httpx.UnsupportedProtocol(""), httpx.LocalProtocolError("")])
def test_our_own_mistake_is_not_made_again(error: httpx.TransportError) -> None:
    assert pause_s(error) is None


def test_what_would_be_done_twice_is_not_sent_again() -> None:
    assert pause_s(httpx.ReadError(""), repeatable=False) is None
    assert pause_s(httpx.Response(503), repeatable=False) is None


def test_a_key_that_is_in_flight_is_waited_for() -> None:
    answer = httpx.Response(409, headers={"Retry-After": "2"})
    assert pause_s(answer, keyed=True) == 2.5
    assert pause_s(httpx.Response(409), keyed=True) is None


def test_what_the_server_asks_for_is_the_least() -> None:
    assert pause_s(httpx.Response(503, headers={"Retry-After": "7"})) == 7.5


def test_a_server_that_asks_for_too_much_is_not_waited_for() -> None:
    assert pause_s(httpx.Response(503, headers={"Retry-After": "61"})) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(httpx.Response(503, headers=headers)) == seconds
