"""What crosses between dispatcher, imaging and sampler.

Pixels go from replica to replica by reference. Those of maps are the answer to a call, which the dispatcher owns and
hands on unread: Serve streams every answer, and Ray keeps no count of a reference inside what is streamed (ray#58080).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ray import ObjectRef

from controlnet.warnings import ResultWarning
from serve.jobs.spec import JobSpec
from serve.jobs.store import StoredMap


@dataclass(frozen=True, slots=True)
class Maps:
    """What imaging made of a job's pictures.

    Attributes:
        pixels: One list per control of its maps, uint8 [H, W, 3]; one map, or one per image.
        seconds: Time spent reading, decoding, resizing and annotating.
        warnings: About them.
    """

    pixels: list[list[npt.NDArray[np.uint8]]]
    seconds: float
    warnings: tuple[ResultWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredMaps:
    """The same as artifacts."""

    maps: tuple[StoredMap, ...] = ()
    seconds: float = 0.0
    warnings: tuple[ResultWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Steered:
    """The canny map that an image was to follow.

    Attributes:
        control: Which list of `Maps` has it.
        image: Which image of the job.
        low: Threshold of the image's own edges, 0 .. 255.
        high: Likewise.
        version: Of the model.
    """

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
        fence: Of the lease; what an earlier one left in the engine is another's.
        digest: Of the bundle to sample with.
        source: Where a sampler that lacks the bundle fetches it.
        spec: What to make.
        images: Which of its images; an earlier attempt may have stored others.
        trace: A `traceparent`, of a job that is traced.
    """

    id: str
    fence: int
    digest: str
    source: str
    spec: JobSpec
    images: tuple[int, ...]
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done so far by each image that is made, in the order of `SamplerJob.images`.

    Attributes:
        preview: JPEG of what the first unfinished image is about to be, now and then.
    """

    steps: tuple[int, ...]
    of: int
    preview: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """One image is finished.

    Attributes:
        index: Which of the job's.
        picture: Refers to uint8 [H, W, 3].
        seconds: Since the sampler had all that the job needs.
        warnings: About the job's images and maps, the same with each.
    """

    index: int
    picture: ObjectRef
    seconds: float
    warnings: tuple[ResultWarning, ...] = ()
