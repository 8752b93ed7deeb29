"""Pages for people: `/`, `/docs`, what a type of problem means; and the files they need, all of them from here.

Nothing on them asks another host, so they work without the Internet, and their policy lets a browser ask none. They set
no cookie and tell what anybody may know.
"""

from __future__ import annotations

import hashlib
import html
import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from controlnet import __version__
from serve.api import answers
from serve.api.problems import KINDS, documented
from serve.errors import NotAcceptable, NotFound

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""Of the files that are handed out, by suffix; others in the folder are not."""

HTML = "text/html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every page. Swagger UI's icons are `data:`, the pictures that it shows `blob:`."""

_CODE = re.compile("`([^`]*)`")  # as docstrings and remedies mark it

FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(tags=["health"])


class ApiLinks(BaseModel):
    """Where to go from here."""

    docs: str = "/docs"
    openapi: str = "/openapi.json"
    images: str = "/v1/images"
    jobs: str = "/v1/jobs"
    models: str = "/v1/models"
    controls: str = "/v1/controls"
    ready: str = "/readyz"


class ApiAnswer(BaseModel):
    """What answers here."""

    name: str
    version: str
    links: ApiLinks


class KindAnswer(BaseModel):
    """A type of problem."""

    title: str
    status: int
    description: str = Field(description="What happened.")
    remedy: str = Field(description="What to do.")


_PAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "As `Accept` asks: JSON, or a page.", "content": {HTML: {}}}
}


@router.get("/", summary="What this is, and where to go from here", response_model=ApiAnswer, responses=_PAGE)
async def index(request: Request) -> Response:
    """A page for people, links for programs."""
    answer = ApiAnswer(name="ControlNet platform", version=__version__, links=ApiLinks())
    return _negotiated(request, answer, "index.html", {"version": __version__})


@router.get(
    "/problems/{kind}",
    summary="What a type of problem means, and what to do",
    response_model=KindAnswer,
    responses=_PAGE | documented(404),
)
async def problem(kind: str, request: Request) -> Response:
    """The `type` of every problem leads here."""
    if kind not in KINDS:
        raise NotFound(f"There is no such type of problem; there are {', '.join(KINDS)}.")
    found = KINDS[kind]
    answer = KindAnswer(
        title=found.title,
        status=found.status,
        description=" ".join((inspect.getdoc(found) or found.title).split()),
        remedy=found.remedy,
    )
    return _negotiated(request, answer, "problem.html", {"type": kind, **answer.model_dump()})


async def docs(request: Request) -> Response:
    """Swagger UI over `/openapi.json`."""
    return _page("docs.html", {})


async def asset(request: Request) -> Response:
    """A file that a page names, under the version of all of them: what was fetched once is not asked for again."""
    path = assets().get(request.path_params["name"])
    if path is None:
        raise NotFound("There is no such file.")
    # While apis of two versions run, another version's page may ask: it gets this one's, and keeps it no longer.
    control = FOR_EVER if request.path_params["version"] == version() else "no-cache"
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers={"Cache-Control": control})


router.add_route("/docs", docs)
router.add_route("/assets/{version}/{name:path}", asset)


@cache
def assets() -> Mapping[str, Path]:
    """The files that are handed out, by name: nothing else of the disk has one."""
    files = sorted(path for path in STATIC.rglob("*") if path.suffix in MEDIA_TYPES)
    return {path.relative_to(STATIC).as_posix(): path for path in files}


@cache
def version() -> str:
    """Names the content of all assets."""
    digest = hashlib.sha256()
    for name, path in assets().items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _negotiated(request: Request, answer: BaseModel, name: str, values: Mapping[str, object]) -> Response:
    """JSON, unless HTML is liked better; a client that likes neither gets JSON, as it always did."""
    try:
        media = answers.choose(request.headers.get("accept"), (answers.JSON, HTML))
    except NotAcceptable:
        media = answers.JSON
    found = _page(name, values) if media == HTML else JSONResponse(answer.model_dump())
    found.headers["Vary"] = "Accept"
    return found


def _page(name: str, values: Mapping[str, object]) -> HTMLResponse:
    escaped = {key: _CODE.sub(r"<code>\1</code>", html.escape(str(value))) for key, value in values.items()}
    text = Template((STATIC / name).read_text("utf-8")).substitute(escaped, assets=f"assets/{version()}")
    headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
    return HTMLResponse(text, headers=headers)
