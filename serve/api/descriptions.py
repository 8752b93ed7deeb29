"""A job as clients see it: on its own page, in lists, in the last event of its stream, in webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.api.maps import map_id
from serve.api.problems import members
from serve.api.schemas import ModelAnswer, Problem, WarningAnswer, Warnings
from serve.errors import ServeError
from serve.jobs.spec import JobSpec
from serve.jobs.standing import Standing
from serve.jobs.store import Job, JobResult, JobStore, StoredImage, StoredMap
from serve.telemetry import trace_id_of


class ProgressAnswer(BaseModel):
    """How far a running job is."""

    steps: list[int] = Field(description="Done so far, for each image.")
    of: int


class ImageLink(BaseModel):
    """An image that is done."""

    index: int
    seed: int
    width: int
    height: int
    url: str = Field(description="The PNG.")


class MapLink(BaseModel):
    """A control map that steers the job, or that it was made for."""

    index: int = Field(description="Which of that control's maps.")
    type: str = Field(description="The control it is for.")
    id: str = Field(description="What later jobs may give as `map`, while this one is kept.")
    url: str = Field(description="The PNG.")


class Links(BaseModel):
    """Where to go from here."""

    self: str
    events: str
    archive: str


class JobAnswer(BaseModel):
    """Where a job stands. Times are epoch seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "job_0199a1b2c3d4e5f60718293a4b5c6d7e",
                    "kind": "images",
                    "state": "running",
                    "attempt": 1,
                    "position": None,
                    "predicted_s": None,
                    "priority": "interactive",
                    "deadline": None,
                    "progress": {"steps": [20, 11], "of": 20},
                    "n": 2,
                    "parameters": {"prompt": "a brass washer", "seed": 7, "steps": 20, "width": 256, "height": 256},
                    "model": {"name": "controlnet-demo", "version": "1", "digest": "sha256:9f2c..."},
                    "images": [
                        {
                            "index": 0,
                            "seed": 7,
                            "width": 256,
                            "height": 256,
                            "url": "/v1/jobs/job_0199a1b2c3d4e5f60718293a4b5c6d7e/images/0",
                        }
                    ],
                    "control_maps": [],
                    "error": None,
                    "timings": None,
                    "warnings": [],
                    "trace_id": None,
                    "created_at": 1790000000.0,
                    "started_at": 1790000000.5,
                    "finished_at": None,
                    "expires_at": None,
                    "links": {
                        "self": "/v1/jobs/job_0199a1b2c3d4e5f60718293a4b5c6d7e",
                        "events": "/v1/jobs/job_0199a1b2c3d4e5f60718293a4b5c6d7e/events",
                        "archive": "/v1/jobs/job_0199a1b2c3d4e5f60718293a4b5c6d7e/archive",
                    },
                }
            ]
        }
    )

    id: str
    kind: Literal["images", "map"] = Field(description="`map`: only control maps are made, by `/v1/controls/{type}`.")
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"] = Field(
        description="The last three are the end: nothing changes after them but that the result expires."
    )
    attempt: int = Field(description="How often it was started; again after a worker was lost, with the same seeds.")
    position: int | None = Field(
        description="Jobs before it while it is queued, in the fair order: exact inside your team, others' by estimate."
    )
    predicted_s: float | None = Field(description="Seconds until it is predicted to be done, while it is queued.")
    priority: Literal["interactive", "batch"]
    deadline: float | None = Field(description="When it is not wanted any more, unless it was started before.")
    progress: ProgressAnswer | None
    n: int = Field(description="Images asked for.")
    parameters: dict[str, Any] = Field(description="All of them, as used.")
    model: ModelAnswer
    images: list[ImageLink] = Field(description="Those that are done.")
    control_maps: list[MapLink]
    error: Problem | None = Field(description="Why it failed.")
    timings: dict[str, float] | None = Field(description="Seconds by phase, of a job that succeeded.")
    warnings: Warnings
    trace_id: str | None = Field(None, description="Of the trace that shows where its time went, where it has one.")
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float | None = Field(description="When images, maps and archive go (410 from then on).")
    links: Links


@dataclass(frozen=True, slots=True)
class Made:
    """What a job has made so far: also while it runs, and before it failed."""

    images: Mapping[int, StoredImage] = field(default_factory=dict)
    maps: Sequence[StoredMap] = ()

    @classmethod
    def by(cls, store: JobStore, job: Job) -> Made:
        """Look: in the result of a job that has one, in the history of others."""
        if job.result is not None:
            return cls(dict(enumerate(job.result.images)), job.result.control_maps)
        if job.expired_at is not None or job.started_at is None:
            return cls()
        images: dict[int, StoredImage] = {}
        maps: tuple[StoredMap, ...] = ()
        for event in store.events(job.id):  # a later attempt's stand for an earlier one's
            if event.kind == "image":
                images[event.data["index"]] = StoredImage(**event.data["image"])
            elif event.kind == "annotated":
                maps = annotated(event.data)
        return cls(dict(sorted(images.items())), maps)


def _steps(job: Job, progress: Mapping[str, Any]) -> list[int]:
    """Those done by each image. Of what came last the end is told alone, so of a job that succeeded they are all."""
    steps: list[int] = progress["steps"]
    return [progress["of"]] * len(steps) if job.state == "succeeded" else steps


def describe(store: JobStore, job: Job) -> JobAnswer:
    """All that a client may know. Reads from the store, so it belongs in a thread."""
    return describe_alone(job, Made.by(store, job), store.standing(job) if job.state == "queued" else None)


def describe_alone(job: Job, made: Made | None = None, standing: Standing | None = None) -> JobAnswer:
    """What its row tells a client of a job, beside what is given."""
    made = made or Made()
    progress = job.progress
    return JobAnswer(
        id=job.id,
        kind=job.spec.kind,
        state=job.state,
        attempt=job.attempt,
        position=None if standing is None else standing.position,
        predicted_s=None if standing is None else standing.predicted_s,
        priority=job.priority,
        deadline=job.deadline,
        progress=None if progress is None else ProgressAnswer(steps=_steps(job, progress), of=progress["of"]),
        n=job.spec.n,
        parameters=parameters(job.spec),
        model=ModelAnswer(name=job.model.name, version=job.model.version, digest=job.model.digest),
        images=[
            ImageLink(index=i, seed=image.seed, width=image.width, height=image.height, url=image_url(job.id, i))
            for i, image in made.images.items()
        ],
        control_maps=map_links(job.id, made.maps),
        error=None if job.error is None else Problem(**members(ServeError.from_problem(job.error))),
        timings=None if job.result is None else dict(job.result.timings),
        warnings=[] if job.result is None else warned(job.result),
        trace_id=trace_id_of(job.trace),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        links=Links(self=job_url(job.id), events=f"{job_url(job.id)}/events", archive=f"{job_url(job.id)}/archive"),
    )


def parameters(spec: JobSpec) -> dict[str, Any]:
    """All parameters as used. Artifact keys are ours and stay here."""
    shown = spec.to_json()
    controls = [
        {name: value for name, value in control.items() if name != "images"} for control in shown.pop("controls")
    ]
    if spec.kind == "map":
        return {"width": spec.width, "height": spec.height, "controls": controls}
    return shown | {"n": spec.n, "seed": spec.seeds[0], "seeds": list(spec.seeds), "controls": controls}


def warned(result: JobResult) -> list[WarningAnswer]:
    """The warnings of a result."""
    return [WarningAnswer(**asdict(warning)) for warning in result.warnings]


def annotated(data: Mapping[str, Any]) -> tuple[StoredMap, ...]:
    """The maps of an `annotated` event."""
    return tuple(StoredMap(**control_map) for control_map in data["control_maps"])


def map_links(job_id: str, maps: Sequence[StoredMap]) -> list[MapLink]:
    """Where a job's maps are, in the order of `/controls/{k}`."""
    return [
        MapLink(index=made.index, type=made.type, id=map_id(made.key), url=f"{job_url(job_id)}/controls/{k}")
        for k, made in enumerate(maps)
    ]


def job_url(job_id: str) -> str:
    """Where a job is, on whatever host this api is called."""
    return f"/v1/jobs/{job_id}"


def image_url(job_id: str, index: int) -> str:
    """Where one of its images is."""
    return f"{job_url(job_id)}/images/{index}"
