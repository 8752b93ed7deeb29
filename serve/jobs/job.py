"""The nouns of the store: a job, its result, the lease a worker holds on it, and the model it is pinned to.

All of them are values: the store hands out what a row said at one moment and takes them back as proof (a `Lease`) or
as data (a `JobResult`). Times are epoch seconds of the store's clock.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from controlnet.warnings import ResultWarning
from serve.jobs.fairness import Priority
from serve.jobs.spec import JobSpec

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Terminal = Literal["succeeded", "failed", "cancelled"]
EventKind = Literal["queued", "started", "annotated", "image", Terminal]

STATES: tuple[State, ...] = get_args(State)
TERMINAL: frozenset[State] = frozenset(get_args(Terminal))


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """What a job is pinned to: the digest decides the weights, name and version are for people."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class ServedModel(ModelVersion):
    """What new jobs are pinned to.

    Attributes:
        manifest: The bundle's `bundle.json`, so that the api can check a request without the bundle.
        source: Where a sampler fetches the bundle (`models:/controlnet-demo/1`).
    """

    manifest: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A finished picture: its artifact key, the seed that made it, its size in pixels."""

    key: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StoredMap:
    """A control map: its artifact key, the control's name, which of that control's maps it is."""

    key: str
    type: str
    index: int


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a succeeded job made.

    Attributes:
        images: In the order of the spec's seeds.
        control_maps: The maps that steered them, apart from the images.
        timings: Seconds by phase.
        warnings: What of the request had no effect, or is rarely meant.
    """

    images: tuple[StoredImage, ...]
    control_maps: tuple[StoredMap, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[ResultWarning, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        """The artifacts it is made of."""
        return frozenset([image.key for image in self.images] + [made.key for made in self.control_maps])

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JobResult:
        """Rebuild a result from `to_json()` after a trip through JSON."""
        return cls(
            images=tuple(StoredImage(**image) for image in data["images"]),
            control_maps=tuple(StoredMap(**control_map) for control_map in data["control_maps"]),
            timings=data["timings"],
            warnings=tuple(ResultWarning(**warning) for warning in data.get("warnings", ())),  # 0.1 wrote none
        )


@dataclass(frozen=True, slots=True)
class Job:
    """One row of `jobs` as it was when it was read.

    Attributes:
        attempt: How often it was started; 0 while it never was.
        progress: What the worker said last in this attempt, and what the api shows.
        error: `ServeError.problem()` of a failed job.
        started_at: When it was started first.
        finished_at: When it became terminal.
        cancel_requested: Someone asked a running job to stop.
        webhook: Where its end is told.
        idempotency_key: What its submission was named by its client.
        expires_at: When the result of a terminal job goes.
        expired_at: When it went: the state stays, `result` is none.
        priority: Inside its team.
        deadline: When it is not wanted any more, unless it was started before.
        rows: UNet rows of all its images.
        gflop: What it costs.
        trace: W3C `traceparent` of the request that submitted it; none where that is not traced.
    """

    id: str
    tenant: str
    state: State
    spec: JobSpec
    model: ModelVersion
    attempt: int
    progress: Mapping[str, Any] | None
    result: JobResult | None
    error: Mapping[str, Any] | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    cancel_requested: bool
    webhook: str | None
    idempotency_key: str | None
    expires_at: float | None
    expired_at: float | None
    priority: Priority
    deadline: float | None
    rows: int
    gflop: float
    trace: str | None = None

    @property
    def terminal(self) -> bool:
        """Nothing will change any more."""
        return self.state in TERMINAL


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a job until the fence moves on: what every write of a worker must show.

    Attributes:
        mark: `Retention.mark` of when it began: what was stored since then counts as stored.
    """

    job: Job
    owner: str
    fence: int
    attempt: int
    mark: int


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's durable history (the outbox); `id` only ever grows."""

    id: int
    job_id: str
    kind: EventKind
    data: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, the newest first; `after` is the cursor to the next ones, none at the end."""

    jobs: tuple[Job, ...]
    after: str | None


def new_id(prefix: str, now: float) -> str:
    """An id that sorts by time and cannot be guessed: UUIDv7's layout without its version bits.

    48 bits of milliseconds keep new rows together at the end of the index; the other 80 are random.
    """
    return f"{prefix}_{int(now * 1000):012x}{secrets.token_hex(10)}"
