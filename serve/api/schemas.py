"""The JSON that goes in and out. Bounds that an operator may move are checked by `admission`, against the settings."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from serve.api.maps import PREFIX

LARGEST_SEED = 2**32 - 1
LONGEST_PROMPT = 1000
LONGEST_DEADLINE_S = 7 * 24 * 3600

EXAMPLE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQAAAADsdIMmAAAAGElEQVR42mP4z8TAdISJgYmBiYHhPxMDABrSAs+LtWonAAAAAElFTkSuQmCC"
"""The smallest picture worth annotating, for examples that work when they are sent: a square in a square."""

EXAMPLE_ID = f"{PREFIX}{hashlib.sha256(base64.b64decode(EXAMPLE)).hexdigest()}"
"""What it is called as a map, once it was sent."""

_PICTURE = (
    "PNG, JPEG or WebP: base64 (optionally a `data:` URL), or the field or file name of an uploaded file. "
    "A list gives each image of the job its own; its length is 1 or `n`."
)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Pictures = Annotated[
    list[str],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
            "description": _PICTURE,
        }
    ),
]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class ControlRequest(_Request):
    """One control that the images follow."""

    type: str = Field(min_length=1, max_length=32, description="Name of a control of the served bundle: /v1/controls.")
    image: Pictures | None = Field(None, description=f"The picture whose structure is kept. {_PICTURE}")
    map: Pictures | None = Field(
        None,
        description=f"A ready map, instead of `image`: the id of one that was made here (`map_...`), or {_PICTURE}",
    )
    annotator: str | None = Field(
        None,
        max_length=32,
        description="Makes the map of `image`: one of /v1/controls; by default the control's own. Not with `map`.",
    )
    parameters: dict[str, float] = Field(
        default_factory=dict,
        description="Of the annotator. For those left out: the bundle's where the annotator is the control's own, "
        "else the annotator's. Not with `map`.",
    )
    strength: float = Field(1.0, ge=0, le=2, description="Multiplies what the control adds.")
    start: float = Field(0.0, ge=0, le=1, description="Share of the steps after which the control begins to act.")
    end: float = Field(1.0, ge=0, le=1, description="Share of the steps after which it stops; at least `start`.")
    mode: Literal["balanced", "guess"] = Field(
        "balanced", description="`guess` works from the picture more than from the prompt, or without one."
    )


class Webhook(_Request):
    """Whom to tell when the job has ended."""

    url: str = Field(
        min_length=1,
        max_length=2048,
        description="https, on a host that the operator allows. Gets a signed POST of the job, at least once.",
    )


class ImagesRequest(_Request):
    """What to make. Everything but the prompt has a default, most of them the served bundle's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"prompt": "a steel gear on a grey bench"},
                {
                    "prompt": "a brass washer",
                    "n": 2,
                    "seed": 7,
                    "steps": 20,
                    "controls": [{"type": "canny", "image": EXAMPLE, "parameters": {"low_threshold": 50}}],
                },
            ]
        }
    )

    prompt: str = Field(max_length=LONGEST_PROMPT, description="What the images show.")
    negative_prompt: str | None = Field(None, max_length=LONGEST_PROMPT, description="What they don't show.")
    n: int | None = Field(None, ge=1, description="How many; by default as many as pictures were given, or 1.")
    steps: int | None = Field(None, ge=1, description="Sampling steps.")
    guidance: float | None = Field(None, ge=0.1, le=30, description="How closely the prompt is followed; 1 is plain.")
    seed: int | None = Field(
        None, ge=-1, le=LARGEST_SEED, description="Of the first image; image i has seed + i. -1 or nothing: random."
    )
    width: int | None = Field(None, ge=1, le=65536, description="Pixels, with `height`.")
    height: int | None = Field(None, ge=1, le=65536, description="Pixels, with `width`.")
    resolution: int | None = Field(
        None,
        ge=1,
        le=65536,
        description="Short side; the shape is that of the first control's first picture. "
        "By default the model's own, or that of a `map` which is larger.",
    )
    sampler: Literal["ddim", "dpmpp_2m", "euler"] | None = None
    deterministic: bool = Field(False, description="The same bytes for the same request, whatever else is running.")
    controls: list[ControlRequest] = Field(default_factory=list, description="What steers the images; may be empty.")
    webhook: Webhook | None = Field(None, description="Told of the job's end, whatever it is.")
    priority: Literal["interactive", "batch"] = Field(
        "interactive",
        description="`batch` starts when none of your team's interactive jobs wait, or nine of them went before it.",
    )
    deadline_s: float | None = Field(
        None,
        gt=0,
        le=LONGEST_DEADLINE_S,
        description="Seconds after its acceptance in which the job is to be done. 429 if it is predicted to be later; "
        "a job that could not be started in time ends as failed, and costs nothing.",
    )


class MapRequest(_Request):
    """What to annotate.

    The size is that of the images which the map is to steer; by default the model's, in the picture's shape.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"image": EXAMPLE, "parameters": {"low_threshold": 50}, "resolution": 256}]}
    )

    image: str = Field(
        description="PNG, JPEG or WebP: base64 (optionally a `data:` URL), or the name of an uploaded file."
    )
    annotator: str | None = Field(None, max_length=32, description="One of /v1/controls; by default the control's own.")
    parameters: dict[str, float] = Field(
        default_factory=dict,
        description="Of the annotator. For those left out: the bundle's where the annotator is the control's own, "
        "else the annotator's.",
    )
    width: int | None = Field(None, ge=1, le=65536, description="Pixels, with `height`.")
    height: int | None = Field(None, ge=1, le=65536, description="Pixels, with `width`.")
    resolution: int | None = Field(None, ge=1, le=65536, description="Short side; the shape is that of the picture.")


class ImageAnswer(BaseModel):
    """A finished image."""

    b64: str = Field(description="PNG, base64. It carries its parameters as text.")
    seed: int
    width: int
    height: int


class ControlMapAnswer(BaseModel):
    """A map that steered the images, as the network saw it."""

    type: str
    index: int = Field(description="Which of that control's maps.")
    b64: str = Field(description="PNG, base64.")


class ModelAnswer(BaseModel):
    """The weights that made the images."""

    name: str
    version: str
    digest: str


class WarningAnswer(BaseModel):
    """A warning about a result: a part of the request had no effect, or is rarely meant."""

    code: str = Field(
        description="Kind of the warning, for programs: `prompt-cut`, `negative-prompt-cut`, `negative-prompt-unused`, "
        "`one-step`, `window-without-step`, `map-one-tone`, `map-mostly-white`, `map-shrunk`. More kinds may come."
    )
    field: str = Field(description="Part of the request, as a dotted path.")
    detail: str = Field(description="A sentence for a person.")


Warnings = Annotated[list[WarningAnswer], Field(description="What of the request had no effect, or is rarely meant.")]


class ImagesAnswer(BaseModel):
    """All that came of a job."""

    job: str
    images: list[ImageAnswer]
    control_maps: list[ControlMapAnswer]
    parameters: dict[str, Any] = Field(description="All of them, as used.")
    model: ModelAnswer
    timings: dict[str, float] = Field(description="Seconds by phase.")
    warnings: Warnings


class MapAnswer(BaseModel):
    """A control map."""

    job: str
    id: str = Field(description="What later jobs may give as `map`, while this one is kept.")
    type: str = Field(description="The control it is for.")
    width: int
    height: int
    parameters: dict[str, float] = Field(description="Of the annotator, all of them, as used.")
    b64: str = Field(description="PNG, base64.")
    warnings: Warnings


class FieldError(BaseModel):
    """A field at fault."""

    field: str = Field(description="Dotted path.")
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    job: str | None = None
    request_id: str | None = Field(None, description="Of the request that this answers.")
    trace_id: str | None = Field(None, description="Of its trace, where it is traced.")
