"""The first demo's contract: `POST /model/generate`, `GET /model/health`. New clients use `/v1/images`.

Names, defaults and ranges are those of the original's gradio_canny2image.py, but for `image_resolution`, which depends
on the model: the original's 256..768, by default 512, is half to one and a half of a model of 512 pixels.
"""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controlnet.bundle import Manifest
from serve.api import answers
from serve.api.access import Who
from serve.api.admission import Draft, settle
from serve.api.context import Context, InContext
from serve.api.problems import AboutJob, InvalidFields, documented, invalid
from serve.api.quotas import bounds
from serve.api.schemas import LONGEST_PROMPT, ControlRequest, ImagesRequest
from serve.api.submission import Submission, submit
from serve.api.uploads import Uploads, read_form
from serve.api.waiting import succeeded
from serve.config import Settings
from serve.errors import InvalidRequest, ServeError
from serve.tenancy.principal import Principal

router = APIRouter(prefix="/model", tags=["first demo"])

CONTROL = "canny"
_OURS_TO_THEIRS = {
    "n": "num_samples",
    "negative_prompt": "n_prompt",
    "steps": "ddim_steps",
    "guidance": "scale",
    "resolution": "image_resolution",
    "controls.0.type": "image",
    "controls.0.image": "image",
    "controls.0.strength": "strength",
    "controls.0.parameters.low_threshold": "low_threshold",
    "controls.0.parameters.high_threshold": "high_threshold",
}


class GenerateForm(BaseModel):
    """The original's parameters; texts of a form, so numbers are parsed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prompt: str = Field("", max_length=LONGEST_PROMPT)
    a_prompt: str = Field("best quality, extremely detailed", max_length=LONGEST_PROMPT)
    n_prompt: str = Field(
        "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit, fewer digits, "
        "cropped, worst quality, low quality",
        max_length=LONGEST_PROMPT,
    )
    num_samples: int = Field(1, ge=1, le=12)
    image_resolution: int | None = Field(None, ge=1, description="Short side; by default the model's own.")
    ddim_steps: int = Field(20, ge=1, le=100)
    guess_mode: bool = False
    strength: float = Field(1.0, ge=0, le=2)
    scale: float = Field(9.0, ge=0.1, le=30)
    seed: int = Field(-1, ge=-1, le=2**31 - 1)
    eta: float = Field(0.0, ge=0, le=1)
    low_threshold: int = Field(100, ge=1, le=255)
    high_threshold: int = Field(200, ge=1, le=255)


def _schema() -> dict[str, Any]:
    schema = GenerateForm.model_json_schema()
    schema["properties"]["image"] = {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."}
    return schema | {"required": ["image"]}


@router.post(
    "/generate",
    summary="Make images from a picture's edges, as the first demo did",
    response_class=Response,
    responses={
        200: {"description": "image_<i>.png, control/canny.png, parameters.json", "content": {answers.ZIP: {}}},
        **documented(408, 409, 410, 415, 422, 504),
    },
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _schema()}}}},
)
async def generate(request: Request, context: InContext, who: Who) -> Response:
    """Exactly `num_samples` images in a zip, the map apart from them, white on black."""
    form, submission = await _admit(request, context, who)
    try:
        job = await succeeded(context, submission, request.receive)
    except AboutJob as failed:
        raise AboutJob(_renamed(failed.error), failed.job_id) from None
    finished = await answers.Finished.read(context, job)
    return await answers.archive(finished, "parameters.json", _used(form, finished))


@router.get("/health", summary="Whether a model is loaded")
async def health(context: InContext) -> dict[str, str]:
    """200 once a model is loaded and warm, 503 before."""
    served = await context.warm()
    return {"status": "ok", "model": served.version.name, "version": served.version.version}


async def _admit(request: Request, context: Context, who: Principal) -> tuple[GenerateForm, Submission]:
    """Read, settle and submit. A function of its own, so that the wait does not hold the picture in memory."""
    served = await context.model()
    texts, files = await read_form(request, GenerateForm.model_fields, {"image"}, context.settings.max_body)
    try:
        form = GenerateForm.model_validate(texts)
    except ValidationError as error:
        raise invalid(error) from None
    if "image" not in files:
        raise InvalidRequest("is required: the picture, as a file", field="image")
    draft = await to_thread.run_sync(
        _draft, form, files["image"], served.manifest, context, bounds(context.settings, who.limits)
    )
    return form, Submission(await submit(request, context, who, draft, served))


def _draft(form: GenerateForm, image: bytes, manifest: Manifest, context: Context, settings: Settings) -> Draft:
    _check_resolution(form, manifest)
    uploads = Uploads()
    uploads.add("image", None, image)
    try:
        wanted = ImagesRequest(
            prompt=f"{form.prompt}, {form.a_prompt}" if form.a_prompt else form.prompt,
            negative_prompt=form.n_prompt,
            n=form.num_samples,
            steps=form.ddim_steps,
            guidance=form.scale,
            seed=form.seed,
            resolution=form.image_resolution,
            sampler="ddim",
            controls=[
                ControlRequest(
                    type=CONTROL,
                    image=["image"],
                    parameters={"low_threshold": form.low_threshold, "high_threshold": form.high_threshold},
                    strength=form.strength,
                    mode="guess" if form.guess_mode else "balanced",
                )
            ],
        )
        return settle(wanted, uploads, manifest, settings, context.random_seed, form.eta)
    except ValidationError as error:  # the two prompts together
        raise invalid(error).renamed(_OURS_TO_THEIRS) from None
    except InvalidFields as error:
        raise error.renamed(_OURS_TO_THEIRS) from None
    except ServeError as error:
        raise _renamed(error) from None


def _renamed(error: ServeError) -> ServeError:
    theirs = _OURS_TO_THEIRS.get(error.field or "", error.field)
    return type(error)(error.detail, field=theirs, retry_after_s=error.retry_after_s)


def _check_resolution(form: GenerateForm, manifest: Manifest) -> None:
    native = min(manifest.native_size.width, manifest.native_size.height)
    low, high = native // 2, native * 3 // 2
    if form.image_resolution is not None and not low <= form.image_resolution <= high:
        raise InvalidRequest(f"must be {low} .. {high} for this model", field="image_resolution")


def _used(form: GenerateForm, finished: answers.Finished) -> dict[str, Any]:
    spec = finished.job.spec
    return form.model_dump() | {
        "image_resolution": min(spec.width, spec.height),
        "seed": spec.seeds[0],
        "seeds": list(spec.seeds),
        "prompt_used": spec.prompt,
        "width": spec.width,
        "height": spec.height,
        "control_map": "control/canny.png: white edges on black, as the network saw it (the first demo showed it "
        "inverted, as the first of its images)",
        "job": finished.job.id,
        "model": finished.model,
    }
