"""What a job asks for: every parameter settled, nothing left to a default.

The api fills these in from the request and the served bundle's manifest, the row stores them as JSON, and dispatcher,
imaging and sampler read them. A retry therefore repeats exactly what was admitted: same seeds, same size, same
model version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["images", "map"]
Mode = Literal["balanced", "guess"]


@dataclass(frozen=True, slots=True)
class ControlSpec:
    """One control of a job.

    Attributes:
        type: Name of the control in the bundle (`canny`, `depth` ...).
        annotator: Makes the map from `images`; `none` where `images` are maps already.
        images: Artifact keys, one for all images of the job or exactly `n`.
        parameters: The annotator's parameters, all of them.
        strength: Multiplies the control's residuals, 0 .. 2.
        start: Share of the steps after which the control begins to act, 0 .. 1.
        end: Share of the steps after which it stops, `start` .. 1.
        mode: `guess` leaves the unconditional row without control and softens the shallow residuals.
    """

    type: str
    annotator: str
    images: tuple[str, ...]
    parameters: Mapping[str, float]
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: Mode = "balanced"


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Everything that decides the pixels of a job's images, given a model digest.

    Attributes:
        seeds: One per image; their count is the job's `n`. Without any, all that is made are the control maps.
        width: Pixels, a multiple of the bundle's `multiple`.
        height: Pixels, likewise.
        guidance: Classifier-free guidance scale; 1 runs no unconditional row.
        sampler: Name in `controlnet.samplers.SAMPLERS`.
        eta: Stochasticity of DDIM, 0 .. 1.
        deterministic: Bytes depend on this spec and the digest alone, whatever else runs.
    """

    prompt: str
    negative_prompt: str
    seeds: tuple[int, ...]
    steps: int
    guidance: float
    width: int
    height: int
    sampler: str = "ddim"
    eta: float = 0.0
    deterministic: bool = False
    controls: tuple[ControlSpec, ...] = ()

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.seeds)

    @property
    def kind(self) -> Kind:
        """What is made: images, or nothing but the control maps."""
        return "images" if self.seeds else "map"

    @property
    def rows(self) -> int:
        """UNet rows of one image: two under classifier-free guidance."""
        return 1 if self.guidance == 1.0 else 2

    @property
    def keys(self) -> frozenset[str]:
        """The artifacts it reads."""
        return frozenset(key for control in self.controls for key in control.images)

    def to_json(self) -> dict[str, Any]:
        """A JSON-safe dictionary; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JobSpec:
        """Rebuild a spec from `to_json()` after a trip through JSON (which turns tuples into lists)."""
        controls = tuple(ControlSpec(**{**control, "images": tuple(control["images"])}) for control in data["controls"])
        return cls(**{**data, "seeds": tuple(data["seeds"]), "controls": controls})
