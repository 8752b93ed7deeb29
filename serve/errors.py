"""The error tree: every failure a client can meet is one of these, and every one is data.

    ServeError
    ├── InvalidRequest        422  a field is out of its bounds: says which field and which bound
    │   └── IdempotencyMismatch    its Idempotency-Key stands for another request
    ├── MalformedRequest      400  the body could not be parsed at all
    ├── UnsupportedMedia      415  a file is not a picture of an accepted kind
    │   └── UnsupportedContentType the body is of a media type that the route does not take
    ├── RequestTimeout        408  the request did not arrive in time
    ├── HeadTooLarge          431  the request's line and headers have too many bytes
    ├── MethodNotAllowed      405  the path does not answer to this method
    ├── BodyTooLarge          413  the body exceeded the limit while it was read
    ├── Unauthenticated       401  no key or token, or one that is not valid
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
    ├── Overloaded            503  accepted nothing, unless it names a job; try again later
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
        remedy: What to do about the kind, for people; `/problems/<type>` tells it.
        request_id: What to quote of the answer that told of it; known to clients only.
        job: Id of the job it is about; likewise.
    """

    status: int = 500
    type: str = "internal"
    title: str = "Internal error"
    remedy: str = (
        "Repeat the request if it is safe to be repeated, as one with an `Idempotency-Key` is. If it happens again, "
        "tell the operator of the platform the `request_id` of the answer."
    )

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


class OperatorError(Exception):
    """What whoever runs the platform has to change: commands tell it as it is, and no client is ever told.

    Its text is one sentence a fault: what is wrong with which variable, file or folder, and the remedy.
    """


class InvalidRequest(ServeError):
    """A field of the request is missing, unknown or out of its bounds; `errors` names each."""

    status, type, title = 422, "invalid-request", "The request is not valid"
    remedy = "Change the fields that `errors` names. Every field and its bounds are in the API documentation."


class IdempotencyMismatch(InvalidRequest):
    """The Idempotency-Key was sent with another request before; a key stands for one."""

    type, title = "idempotency-mismatch", "The Idempotency-Key stands for another request"
    remedy = "Send the request that the key was first used for, or this one with a new key."


class MalformedRequest(ServeError):
    """The request could not be parsed."""

    status, type, title = 400, "malformed-request", "The request could not be read"
    remedy = "Send a body that is JSON, or a form whose part `request` is; `detail` says where it can't be read."


class UnsupportedMedia(ServeError):
    """A file is not a picture of an accepted kind."""

    status, type, title = 415, "unsupported-media", "Not an accepted picture"
    remedy = "Send the picture as PNG, JPEG or WebP."


class UnsupportedContentType(UnsupportedMedia):
    """The body is of a media type that the route does not take."""

    type, title = "unsupported-content-type", "Unsupported content type"
    remedy = "Send the body as a media type that `detail` names, with a `Content-Type` header that says so."


class RequestTimeout(ServeError):
    """The request's head or body did not arrive in time."""

    status, type, title = 408, "request-timeout", "The request took too long"
    remedy = "Send the request again, over a faster connection or with smaller pictures."


class HeadTooLarge(ServeError):
    """The request's line and headers have more bytes than are accepted."""

    status, type, title = 431, "head-too-large", "The request's headers are too large"
    remedy = "Send fewer or shorter headers and cookies, and a shorter URL."


class MethodNotAllowed(ServeError):
    """The path exists, but does not answer to this method."""

    status, type, title = 405, "method-not-allowed", "Method not allowed"
    remedy = "Use a method that the `Allow` header names."


class BodyTooLarge(ServeError):
    """The body exceeded its limit while it was read."""

    status, type, title = 413, "body-too-large", "The request body is too large"
    remedy = (
        "Send smaller or fewer pictures, as JPEG or WebP for example. `detail` names the largest body that is accepted."
    )


class Unauthenticated(ServeError):
    """The request has no key or token, or one that is not valid."""

    status, type, title = 401, "unauthenticated", "Authentication required"
    remedy = "Send `Authorization: Bearer <key>`. An admin of your team makes keys: `POST /v1/keys`."


class Forbidden(ServeError):
    """The key or token is valid, but its role or team is not allowed to do this."""

    status, type, title = 403, "forbidden", "Not allowed"
    remedy = "Use a key with the role that `detail` names; an admin of your team can make one."


class NotAcceptable(ServeError):
    """The `Accept` header names no media type that the answer can have."""

    status, type, title = 406, "not-acceptable", "No acceptable media type"
    remedy = "Accept one of the media types that `detail` names, or leave the header out."


class NotFound(ServeError):
    """There is nothing by this name, or it is another team's: the answer does not tell which."""

    status, type, title = 404, "not-found", "Not found"
    remedy = "Check the path and the id, and that the key is of the team that made it."


class Conflict(ServeError):
    """The request does not fit the present state: something else must happen first."""

    status, type, title = 409, "conflict", "Not possible now"
    remedy = "`detail` says what must happen first; then send the request again."


class IdempotencyInFlight(Conflict):
    """The request that this Idempotency-Key stands for is being accepted; its job can be named in a moment."""

    type, title = "idempotency-in-flight", "The request is being accepted"
    remedy = "Send the same request again after `Retry-After` seconds."


class NotFinished(Conflict):
    """The job has not made this image, map or archive yet."""

    type, title = "not-finished", "Not made yet"
    remedy = "Follow the job by its `events`, or ask again after `Retry-After` seconds."


class Gone(ServeError):
    """The result was there and has been deleted: results are kept for a limited time."""

    status, type, title = 410, "expired", "Expired"
    remedy = "Submit the job again. `expires_at` of a job says until when its result is kept."


class TooManyRequests(ServeError):
    """The team has as many of these at once as it may have."""

    status, type, title = 429, "too-many-requests", "Too many requests"
    remedy = "Close event streams that are not read, or send the request again after `Retry-After` seconds."


class DeadlineUnreachable(TooManyRequests):
    """The job would not be done before its deadline, so it was not accepted."""

    type, title = "deadline-unreachable", "The deadline can't be met"
    remedy = "Ask for less, give a later `deadline_s`, or send the request again after `Retry-After` seconds."


class QuotaExceeded(TooManyRequests):
    """The team has used what it may in this minute, or today."""

    type, title = "quota-exceeded", "The quota is used up"
    remedy = "Send the request again after `Retry-After` seconds; `GET /v1/usage` tells what was used."


class ModelNotReady(ServeError):
    """No model is loaded and warm yet, so nothing can be made."""

    status, type, title = 503, "model-not-ready", "No model is served yet"
    remedy = "Send the request again after `Retry-After` seconds; `GET /readyz` tells when the model is ready."


class Overloaded(ServeError):
    """The platform can't take the request now. Nothing was accepted, unless a job is named: that one may have been."""

    status, type, title = 503, "overloaded", "Temporarily unavailable"
    remedy = "Send the request again after `Retry-After` seconds. Where the answer names a `job`, look that up first."


class TimedOut(ServeError):
    """The job was not done in the time for which the request waits; it goes on."""

    status, type, title = 504, "timed-out", "Not done in time"
    remedy = "Look the job up by the id in `job`. For long jobs use `POST /v1/jobs` and their `events`."


class JobFailed(ServeError):
    """An accepted job ended in failure."""

    status, type, title = 500, "job-failed", "The job failed"
    remedy = (
        "`detail` says why. If it names nothing to change, submit the job once more, then tell the operator its id."
    )


class JobCancelled(JobFailed):
    """An accepted job was cancelled."""

    status, type, title = 409, "job-cancelled", "The job was cancelled"
    remedy = "Submit the job again if it is wanted: your team cancelled it, or the client that waited for it hung up."


class DeadlineMissed(JobFailed):
    """An accepted job waited for so long that its deadline could not be met any more; it was not started."""

    status, type, title = 504, "deadline-missed", "The deadline was missed"
    remedy = "Submit the job again with a later `deadline_s`, or without one."


class Internal(ServeError):
    """Something went wrong in the platform: it is no fault of the request."""


def kinds(root: type[ServeError] = ServeError) -> dict[str, type[ServeError]]:
    """The errors of the tree by their type."""
    table = {root.type: root}
    for child in root.__subclasses__():
        table = kinds(child) | table  # a child without a type of its own goes by its parent's
    return table | {Internal.type: Internal}


def _rebuild(kind: type[ServeError], detail: str, field: str | None, retry_after_s: float | None) -> ServeError:
    return kind(detail, field=field, retry_after_s=retry_after_s)
