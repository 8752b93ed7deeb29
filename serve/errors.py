"""The error tree: every failure a client can meet is one of these, and every one is data.

    ServeError
    ├── InvalidRequest        422  a field is out of its bounds: says which field and which bound
    │   └── IdempotencyMismatch    its Idempotency-Key stands for another request
    ├── MalformedRequest      400  the body could not be parsed at all
    ├── UnsupportedMedia      415  a file is not a picture of an accepted kind
    ├── BodyTooLarge          413  the body exceeded the limit while it was read
    ├── Unauthenticated       401  nobody who is known: no key, or none that is good
    ├── Forbidden             403  known, and not allowed to do this
    ├── NotAcceptable         406  the Accept header asks for something the answer cannot be
    ├── NotFound              404  no such thing, or not this tenant's
    ├── Conflict              409  not now: something else must happen first
    │   ├── IdempotencyInFlight    the request with this Idempotency-Key is being accepted
    │   └── NotFinished            the job has not made it yet
    ├── Gone                  410  it was there, and its time is over
    ├── TooManyRequests       429  more at once than one team may have
    │   ├── DeadlineUnreachable    it would not be done in time
    │   └── QuotaExceeded          the team has used what it may
    ├── ModelNotReady         503  nothing is served yet
    ├── Overloaded            503  accepted nothing; try again later
    ├── TimedOut              504  the job goes on, the caller's wait is over
    ├── JobFailed             500  an accepted job ended in failure
    │   ├── JobCancelled      409  an accepted job was cancelled
    │   └── DeadlineMissed    504  an accepted job could not be started in time
    └── Internal              500  our fault, with a request id and nothing else

`serve.api.problems` is the only place that turns them into RFC 9457 answers; the same `problem()` data is stored
on a failed job's row, so that an error found while annotating reaches the caller as if the API had found it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServeError(Exception):
    """A failure that a client is told about.

    Args:
        detail: One sentence for the person who sent the request.
        field: The request field at fault as a dotted path (`controls.0.parameters.low_threshold`), if one is.
        retry_after_s: Seconds after which trying again makes sense, if it does.

    Attributes:
        status: HTTP's, of the kind; of a kind that this program does not know, that of the answer.
        type: The kind's name; likewise.
        title: The kind in a phrase; likewise.
        request_id: What to quote of the answer that told of it; known to clients only.
        job: Id of the job it is about; likewise.
    """

    status: int = 500
    type: str = "internal"
    title: str = "Internal error"

    request_id: str | None = None
    job: str | None = None

    def __init__(self, detail: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s

    def problem(self) -> dict[str, Any]:
        """The error as RFC 9457 members (JSON-safe; also what a failed job's row stores)."""
        body: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status, "detail": self.detail}
        if self.field is not None:
            body["field"] = self.field
        if self.retry_after_s is not None:
            body["retry_after_s"] = self.retry_after_s
        return body

    @classmethod
    def from_problem(cls, problem: Mapping[str, Any]) -> ServeError:
        """The inverse of `problem()`; a type that is not known here becomes a `JobFailed`."""
        kind = kinds().get(str(problem.get("type")), JobFailed)
        return kind(
            str(problem.get("detail", "")), field=problem.get("field"), retry_after_s=problem.get("retry_after_s")
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors cross Ray's process borders: keep the keyword fields when pickled."""
        return _rebuild, (type(self), self.detail, self.field, self.retry_after_s)


class InvalidRequest(ServeError):
    """A field is out of its bounds."""

    status, type, title = 422, "invalid-request", "The request is not valid"


class IdempotencyMismatch(InvalidRequest):
    """The Idempotency-Key was sent with another request before; a key stands for one."""

    type, title = "idempotency-mismatch", "The Idempotency-Key stands for another request"


class MalformedRequest(ServeError):
    """The body could not be parsed."""

    status, type, title = 400, "malformed-request", "The request could not be read"


class UnsupportedMedia(ServeError):
    """A file is not a picture of an accepted kind."""

    status, type, title = 415, "unsupported-media", "Not an accepted picture"


class BodyTooLarge(ServeError):
    """The body exceeded its limit while it was read."""

    status, type, title = 413, "body-too-large", "The request body is too large"


class Unauthenticated(ServeError):
    """No key or token came with the request, or none that is good. Keys are an admin's of your team to make."""

    status, type, title = 401, "unauthenticated", "Who asks is not known"


class Forbidden(ServeError):
    """The key or token is good, and its role or team is not allowed to do this."""

    status, type, title = 403, "forbidden", "Not allowed"


class NotAcceptable(ServeError):
    """The Accept header asks for something the answer cannot be."""

    status, type, title = 406, "not-acceptable", "No acceptable representation"


class NotFound(ServeError):
    """No such thing, or not this tenant's: the two are not told apart."""

    status, type, title = 404, "not-found", "Not found"


class Conflict(ServeError):
    """Not now: something else must happen first."""

    status, type, title = 409, "conflict", "Not now"


class IdempotencyInFlight(Conflict):
    """The request that this Idempotency-Key stands for is being accepted; its job can be named in a moment."""

    type, title = "idempotency-in-flight", "The request is being accepted"


class NotFinished(Conflict):
    """The job has not made it yet."""

    type, title = "not-finished", "Not made yet"


class Gone(ServeError):
    """It was there, and its time is over: results are kept for a while, not for ever."""

    status, type, title = 410, "expired", "No longer there"


class TooManyRequests(ServeError):
    """More at once than one team may have."""

    status, type, title = 429, "too-many-requests", "Too many at once"


class DeadlineUnreachable(TooManyRequests):
    """The job would not be done before its deadline, so it was not accepted."""

    type, title = "deadline-unreachable", "The deadline can't be met"


class QuotaExceeded(TooManyRequests):
    """The team has used what it may in a while."""

    type, title = "quota-exceeded", "The quota is used up"


class ModelNotReady(ServeError):
    """Nothing is served yet."""

    status, type, title = 503, "model-not-ready", "No model is served yet"


class Overloaded(ServeError):
    """Nothing was accepted; try again later."""

    status, type, title = 503, "overloaded", "Try again later"


class TimedOut(ServeError):
    """The caller's wait is over."""

    status, type, title = 504, "timed-out", "The wait is over"


class JobFailed(ServeError):
    """An accepted job ended in failure."""

    status, type, title = 500, "job-failed", "The job failed"


class JobCancelled(JobFailed):
    """An accepted job was cancelled."""

    status, type, title = 409, "job-cancelled", "The job was cancelled"


class DeadlineMissed(JobFailed):
    """An accepted job waited for so long that its deadline can't be met any more; it was not started."""

    status, type, title = 504, "deadline-missed", "The deadline was missed"


class Internal(ServeError):
    """Our fault."""


def kinds(root: type[ServeError] = ServeError) -> dict[str, type[ServeError]]:
    """The errors of the tree by their type."""
    table = {root.type: root}
    for child in root.__subclasses__():
        table = kinds(child) | table  # a child without a type of its own goes by its parent's
    return table | {Internal.type: Internal}


def _rebuild(kind: type[ServeError], detail: str, field: str | None, retry_after_s: float | None) -> ServeError:
    return kind(detail, field=field, retry_after_s=retry_after_s)
