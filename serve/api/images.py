"""`POST /v1/images`."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from serve.api import answers
from serve.api.access import Who
from serve.api.context import InContext
from serve.api.problems import documented
from serve.api.schemas import ImagesAnswer
from serve.api.submission import IdempotencyKey, submit_images
from serve.api.waiting import succeeded

router = APIRouter(tags=["images"])

_MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["request"],
    "properties": {"request": {"$ref": "#/components/schemas/ImagesRequest"}},
    "additionalProperties": {"type": "string", "format": "binary", "description": "A picture named in the JSON."},
}
JSON_PART = {"request": {"contentType": "application/json"}}
"""The part of a form that is JSON; a client need not say so."""

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ImagesRequest"}},
            "multipart/form-data": {"schema": _MULTIPART, "encoding": JSON_PART},
        },
    }
}
"""What OpenAPI says of bodies that `submission` reads."""


@router.post(
    "/v1/images",
    summary="Make images that follow a prompt and a picture",
    response_model=ImagesAnswer,
    responses={
        200: {
            "description": "The images. As `Accept` asks: JSON, one PNG, or a zip of all with manifest.json.",
            "content": {answers.PNG: {}, answers.ZIP: {}},
        },
        **documented(406, 408, 409, 410, 415, 422, 504),
    },
    openapi_extra=BODY,
)
async def create_images(
    request: Request, context: InContext, who: Who, idempotency_key: IdempotencyKey = None
) -> Response:
    """Answers when the images are made. Hanging up earlier cancels the job, unless an Idempotency-Key was given.

    Pictures are given as base64 in the JSON, or by name beside it:
    `curl -F 'request={"prompt": "a brass gear", "controls": [{"type": "canny", "image": "it"}]}' -F it=@photo.jpg`

    It is a job of `/v1/jobs` like any other: its id is in the answer, and so it is where the answer is an error.
    """
    media = answers.choose(request.headers.get("accept"))
    check = partial(answers.check, media)
    submission = await submit_images(request, context, who, idempotency_key, check)
    check(submission.job.spec.n)  # that of an earlier request may have accepted something else
    job = await succeeded(context, submission, request.receive, idempotency_key)
    answer = await answers.render(await answers.Finished.read(context, job), media)
    answer.headers.update(submission.headers)
    return answer
