"""`POST /v1/images`."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from serve.api import answers
from serve.api.access import Who
from serve.api.context import InContext
from serve.api.problems import documented
from serve.api.schemas import EXAMPLE, EXAMPLE_ID, ImagesAnswer
from serve.api.submission import IdempotencyKey, submit_images
from serve.api.waiting import succeeded

router = APIRouter(tags=["images"])

_PHOTO: dict[str, Any] = {"prompt": "a brass washer", "controls": [{"type": "canny", "image": "photo"}]}
_MAP: dict[str, Any] = {"prompt": "a brass washer", "seed": 7}
EXAMPLES: dict[str, Any] = {
    "text": {"summary": "A prompt alone", "value": {"prompt": "a steel gear on a grey bench", "seed": 7}},
    "picture": {
        "summary": "A picture whose edges are kept",
        "description": "Choose `multipart/form-data` above to attach a file of your own.",
        "value": _MAP | {"controls": [{"type": "canny", "image": EXAMPLE, "parameters": {"low_threshold": 50}}]},
    },
    "map": {
        "summary": "A ready map, white lines on black",
        "value": _MAP | {"controls": [{"type": "canny", "map": EXAMPLE}]},
    },
    "map_again": {
        "summary": "A map that is here already, by its id",
        "description": "That of the example before, which must have been sent once; the answer of "
        "`/v1/controls/{type}` and a job's `control_maps` tell such ids.",
        "value": _MAP | {"controls": [{"type": "canny", "map": EXAMPLE_ID, "strength": 0.8}]},
    },
}
"""Requests that work as they are, one after the other."""

_MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["request"],
    "properties": {
        "request": {"$ref": "#/components/schemas/ImagesRequest", "examples": [_PHOTO]},
        "photo": {
            "type": "string",
            "format": "binary",
            "description": "A picture that the JSON calls `photo`. Files may have any name that the JSON uses.",
        },
    },
    "additionalProperties": {"type": "string", "format": "binary", "description": "A picture named in the JSON."},
}
JSON_PART = {"request": {"contentType": "application/json"}}
"""The part of a form that is JSON; a client need not say so."""

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ImagesRequest"}, "examples": EXAMPLES},
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
    `curl -F 'request={"prompt": "a brass gear", "controls": [{"type": "canny", "image": "photo"}]}' -F photo=@a.jpg`

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
