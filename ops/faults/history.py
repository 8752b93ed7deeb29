"""The history of a campaign: what clients asked for and saw, and what the platform has of it. Values only.

`clients` and `receiver` write the first half down, `records` reads the second, and `checker` compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serve.jobs.deliveries import DeliveryState
from serve.jobs.job import EventKind, State


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """A durable event as a stream told of it; `id` is the SSE id."""

    id: int
    kind: EventKind


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that a client asked for, whatever came of it.

    Attributes:
        team: Whose key it sent.
        key: Idempotency-Key; none where it sent none, and then it asked once.
        jobs: Ids that the answers named, accepted or not; more than one is one too many.
        accepted: Whether an answer was 202.
        cancelled: Whether it asked for the job to be cancelled.
        deadline: Whether it set one.
        same: Submissions of equal `same` asked for the same deterministic pictures; none where they are its own.
        end: The state that it saw last; none where it never looked.
        pictures: SHA-256 of each picture it fetched after the end.
        streams: The events of each stream that it followed, resumed ones joined.
    """

    team: str
    key: str | None
    jobs: tuple[str, ...] = ()
    accepted: bool = False
    cancelled: bool = False
    deadline: bool = False
    same: str | None = None
    end: State | None = None
    pictures: tuple[str, ...] = ()
    streams: tuple[tuple[SeenEvent, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class WebhookCall:
    """A webhook's call as a receiver took it.

    Attributes:
        team: Whose receiver it is.
        id: `Webhook-Id`.
        job: In its body.
        state: Likewise.
        taken: Whether the receiver answered 2xx.
    """

    team: str
    id: str
    job: str
    state: str
    taken: bool = True


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A row of `jobs`.

    Attributes:
        images: That were asked for; 0 of a map alone.
        steps: Of each image.
        gflop: Of all images.
        failures: Attempts that were counted.
        deaths: Of workers, that were counted.
        problem: The error's `type` and `detail`, empty where there is none.
        files: Artifacts that it or one of its events names, and that are kept; none once the result has expired.
        webhook: Whether its end is to be told.
    """

    id: str
    team: str
    state: State
    key: str | None
    model: str
    images: int
    steps: int
    gflop: float
    attempt: int
    failures: int = 0
    deaths: int = 0
    problem: str = ""
    files: frozenset[str] = frozenset()
    webhook: bool = False


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A row of `events`; `attempt` of `started` and `queued`, `index` of `image`."""

    id: int
    job: str
    kind: EventKind
    attempt: int | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """A row of `usage`; `steps` of all images together."""

    job: str
    team: str
    images: int
    steps: int
    gflop: float


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """A row of `deliveries`."""

    id: str
    job: str
    team: str
    state: DeliveryState


@dataclass(frozen=True, slots=True)
class Sums:
    """Amounts of a team."""

    jobs: int = 0
    images: int = 0
    steps: int = 0
    gflop: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """All of it, after everything has settled.

    Attributes:
        submissions: Of all clients.
        calls: Of all receivers.
        complete: Whether every job of the platform is of these submissions.
        jobs: All rows.
        files: By key, whether what is stored has the digest that the key says.
        swept: Whether what nobody needs was deleted before files were listed.
        taken: By team, what its days count as taken.
        billed: By team, the sums of `GET /v1/usage`.
        deleted: Digests of model versions that were deleted from the registry: their jobs may fail.
    """

    submissions: Sequence[Submission] = ()
    calls: Sequence[WebhookCall] = ()
    complete: bool = True
    jobs: Sequence[JobRecord] = ()
    events: Sequence[EventRecord] = ()
    usage: Sequence[UsageRecord] = ()
    deliveries: Sequence[DeliveryRecord] = ()
    files: Mapping[str, bool] = field(default_factory=dict)
    swept: bool = False
    taken: Mapping[str, Sums] = field(default_factory=dict)
    billed: Mapping[str, Sums] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()

    @property
    def unnamed(self) -> set[str]:
        """Files that are stored and that no row names."""
        return self.files.keys() - {file for job in self.jobs for file in job.files}
