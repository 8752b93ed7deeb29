"""What crosses between dispatcher, imaging and sampler. Pixels travel as object references, never by value."""

from __future__ import annotations

from dataclasses import dataclass

from ray import ObjectRef

from serve.jobs.spec import JobSpec
from serve.jobs.store import StoredMap


@dataclass(frozen=True, slots=True)
class Prepared:
    """What imaging made of a job's pictures.

    Attributes:
        maps: The control maps as stored artifacts.
        hints: Refers to one list per control of its maps, uint8 [H, W, 3]; one map, or one per image.
        seconds: Time spent decoding, resizing and annotating.
    """

    maps: tuple[StoredMap, ...]
    hints: ObjectRef
    seconds: float


@dataclass(frozen=True, slots=True)
class Steered:
    """The canny map that an image was to follow.

    Attributes:
        hints: See `Prepared`.
        control: Which list of them.
        image: Which image of the job.
        low: Threshold of the image's own edges, 0 .. 255.
        high: Likewise.
        version: Of the model.
    """

    hints: ObjectRef
    control: int
    image: int
    low: float
    high: float
    version: str


@dataclass(frozen=True, slots=True)
class SamplerJob:
    """A job as a sampler sees it.

    Attributes:
        id: Of the job.
        attempt: Which one; what an earlier one left in the engine is another's.
        digest: Of the bundle to sample with.
        source: Where a sampler that lacks the bundle fetches it.
        spec: What to make.
        hints: See `Prepared`.
    """

    id: str
    attempt: int
    digest: str
    source: str
    spec: JobSpec
    hints: ObjectRef


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done by each image so far.

    Attributes:
        preview: JPEG of what the first unfinished image is about to be, now and then.
    """

    steps: tuple[int, ...]
    of: int
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """One image is finished: `picture` refers to uint8 [H, W, 3]."""

    index: int
    picture: ObjectRef
    seconds: float
