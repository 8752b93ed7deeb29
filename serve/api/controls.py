"""`/v1/controls`: what can steer images, and control maps made for their own sake."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Request, Response
from fastapi.openapi.models import Example
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from controlnet.annotators import ANNOTATORS, Annotator
from serve.api import answers
from serve.api.access import Who
from serve.api.admission import settle_map
from serve.api.context import Context, InContext
from serve.api.descriptions import warned
from serve.api.images import JSON_PART
from serve.api.maps import map_id
from serve.api.problems import documented
from serve.api.quotas import bounds
from serve.api.schemas import MapAnswer, MapRequest
from serve.api.submission import IdempotencyKey, Submission, fingerprint_of, once, submit, validated
from serve.api.uploads import read_request
from serve.api.waiting import succeeded
from serve.errors import NotFound
from serve.jobs.idempotency import Reservation
from serve.jobs.store import Job
from serve.tenancy.principal import Principal

router = APIRouter(tags=["models"])


class ParameterAnswer(BaseModel):
    """A number that a request may set."""

    name: str
    minimum: float
    maximum: float
    default: float
    step: float
    description: str


class AnnotatorAnswer(BaseModel):
    """Makes control maps from pictures."""

    name: str
    description: str
    parameters: list[ParameterAnswer]


class ControlAnswer(BaseModel):
    """A control of the served model."""

    type: str
    description: str
    annotator: str = Field(description="Makes the map of an `image`; `none` takes maps only.")
    parameters: list[ParameterAnswer] = Field(description="Of the annotator, with this control's defaults.")


class Controls(BaseModel):
    """What can steer images here."""

    controls: list[ControlAnswer]
    annotators: list[AnnotatorAnswer]


@router.get("/v1/controls", summary="The controls of the served model, and the annotators there are")
async def list_controls(context: InContext) -> Controls:
    """No controls until a model is loaded."""
    served = await context.serving()
    trained = {} if served is None else served.manifest.controls
    controls = [
        ControlAnswer(
            type=name,
            description=control.description,
            annotator=control.annotator,
            parameters=_parameters(ANNOTATORS.get(control.annotator), control.parameters),
        )
        for name, control in sorted(trained.items())
    ]
    annotators = [
        AnnotatorAnswer(name=annotator.name, description=annotator.description, parameters=_parameters(annotator, {}))
        for annotator in ANNOTATORS.values()
    ]
    return Controls(controls=controls, annotators=annotators)


_MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["image"],
    "properties": {
        "image": {"type": "string", "format": "binary", "description": "PNG, JPEG or WebP."},
        "request": MapRequest.model_json_schema()
        | {
            "required": [],
            "description": "`image` may be left out: it is the file of that name.",
            "examples": [{"parameters": {"low_threshold": 50}, "resolution": 256}],
        },
    },
}


_TYPES: dict[str, Example] = {"canny": {"value": "canny"}}


@router.post(
    "/v1/controls/{type}",
    summary="Make a control map, to look at it or to use it again",
    response_model=MapAnswer,
    responses={
        200: {"description": "The map. As `Accept` asks: JSON, or the PNG.", "content": {answers.PNG: {}}},
        **documented(404, 406, 408, 409, 410, 415, 422, 504),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/MapRequest"}},
                "multipart/form-data": {"schema": _MULTIPART, "encoding": JSON_PART},
            },
        }
    },
)
async def create_map(
    type: Annotated[str, Path(description="Name of a control of the served model.", openapi_examples=_TYPES)],
    request: Request,
    context: InContext,
    who: Who,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Annotate once, steer many: give the map's id as `map` of a later job's control, while this job is kept.

    `curl -F image=@photo.jpg -F 'request={"parameters": {"low_threshold": 50}}' .../v1/controls/canny`
    """
    media = answers.choose(request.headers.get("accept"), (answers.JSON, answers.PNG))
    submission = await _submit_map(type, request, context, who, idempotency_key)
    job = await succeeded(context, submission, request.receive, idempotency_key)
    answer = await _render(await answers.Finished.read(context, job), media)
    answer.headers.update(submission.headers)
    return answer


async def _submit_map(type: str, request: Request, context: Context, who: Principal, key: str | None) -> Submission:
    """Read, settle and commit; a function that ends, so that the wait does not hold the picture in memory."""
    settings = bounds(context.settings, who.limits)
    data, uploads = await read_request(request, 1, settings.max_body, default=b"{}")
    if uploads.multipart:
        data.setdefault("image", "image")
    wanted = validated(MapRequest, data)

    async def admit(reservation: Reservation | None) -> Job:
        served = await context.model()
        if type not in served.manifest.controls:
            choices = ", ".join(sorted(served.manifest.controls)) or "none"
            raise NotFound(f"There is no such control; the served model has {choices}.")
        draft = await to_thread.run_sync(settle_map, type, wanted, uploads, served.manifest, settings)
        return await submit(request, context, who, draft, served, reservation)

    return await once(request, context, who.tenant, key, partial(fingerprint_of, request, wanted, uploads), admit)


async def _render(finished: answers.Finished, media: str) -> Response:
    job, (control,), (made,) = finished.job, finished.job.spec.controls, finished.result.control_maps
    (data,) = finished.maps
    if media == answers.PNG:
        return answers.one_png(data, job, {"X-Map-ID": map_id(made.key)})
    answer = MapAnswer(
        job=job.id,
        id=map_id(made.key),
        type=control.type,
        width=job.spec.width,
        height=job.spec.height,
        parameters=dict(control.parameters),
        b64=base64.b64encode(data).decode(),
        warnings=warned(finished.result),
    )
    return JSONResponse(answer.model_dump())


def _parameters(annotator: Annotator | None, defaults: Mapping[str, float]) -> list[ParameterAnswer]:
    return [
        ParameterAnswer(
            name=parameter.name,
            minimum=parameter.minimum,
            maximum=parameter.maximum,
            default=defaults.get(parameter.name, parameter.default),
            step=parameter.step,
            description=parameter.description,
        )
        for parameter in (annotator.parameters if annotator else ())
    ]
