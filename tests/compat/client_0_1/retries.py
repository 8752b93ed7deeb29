"""When a call is made again, and after which pause."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Callable
from dataclasses import dataclass

import httpx

Outcome = httpx.Response | httpx.TransportError
"""What became of an attempt."""

BUSY = frozenset({429, 502, 503})
"""Nothing was accepted; 502 is how a proxy says that it got no answer."""

_LOST = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)


@dataclass(frozen=True, slots=True)
class Retries:
    """Exponential pauses with full jitter, on top of what the server asks for. The defaults outlast a restart.

    Attributes:
        attempts: In all.
        first_s: Longest pause after the first attempt; it doubles with each.
        longest_s: Where it stops doubling.
        patience_s: A server that asks for more is not waited for.
    """

    attempts: int = 8
    first_s: float = 0.5
    longest_s: float = 16.0
    patience_s: float = 120.0

    def pause_s(
        self,
        outcome: Outcome,
        attempt: int,
        luck: Callable[[], float],
        *,
        repeatable: bool,
        keyed: bool = False,
    ) -> float | None:
        """Seconds until the next attempt; none where this was the last.

        Args:
            outcome: Of this attempt.
            attempt: From 1.
            luck: Uniform in [0, 1).
            repeatable: Doing it twice is doing it once.
            keyed: It is so because of an Idempotency-Key, which an attempt that was lost may hold still.
        """
        if attempt >= self.attempts or not repeatable or not is_passing(outcome, keyed=keyed):
            return None
        asked = retry_after_s(outcome) if isinstance(outcome, httpx.Response) else None
        if (asked or 0.0) > self.patience_s:
            return None
        return (asked or 0.0) + luck() * min(self.longest_s, self.first_s * 2.0 ** (attempt - 1))


def is_passing(outcome: Outcome, *, keyed: bool = False) -> bool:
    """Whether the same call may go better later."""
    if isinstance(outcome, httpx.TransportError):
        return isinstance(outcome, _LOST)
    in_flight = keyed and outcome.status_code == 409 and "Retry-After" in outcome.headers
    return in_flight or outcome.status_code in BUSY


def retry_after_s(answer: httpx.Response) -> float | None:
    """Of `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date, counted from the answer's own `Date`."""
    text = answer.headers.get("Retry-After", "")
    try:
        found = float(text)
    except ValueError:
        until, since = _epoch_s(text), _epoch_s(answer.headers.get("Date", ""))
        found = math.nan if until is None or since is None else max(0.0, until - since)
    return found if math.isfinite(found) and found >= 0 else None


def _epoch_s(date: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
