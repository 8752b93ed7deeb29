"""What is sent: each method of the API as data, so that it can be sent again and by whoever does the I/O."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from serve.client.job import Job, Map, Page, State
from serve.client.pictures import Picture, encoded
from serve.client.problems import Unreachable, from_answer, unexpected
from serve.client.retries import Outcome
from serve.loopback import is_loopback

T = TypeVar("T")
Answer = TypeVar("Answer", bound=BaseModel)

CONNECT_S = 10.0
READ_S = 60.0
ANNOTATE_S = 660.0  # the API waits up to ten minutes for the job
LISTEN_S = 60.0  # a stream of events says at least that it is alive, every 15 seconds

LARGEST_PAGE = 200

_MAP_ID = re.compile(r"map_[0-9a-f]+")


def standing_headers(url: str, key: str | None) -> Mapping[str, str]:
    """Of every request to the API at `url`; `key` is an API key.

    Raises:
        ValueError: The key could be read on its way.
    """
    where = httpx.URL(url)
    if key is not None and where.scheme != "https" and not is_loopback(where.host):
        raise ValueError(f"a key is only sent over https, or to this machine: {url} is neither")
    return {"User-Agent": "controlnet-client"} | ({} if key is None else {"Authorization": f"Bearer {key}"})


def new_key() -> str:
    """An Idempotency-Key that nobody else has."""
    return str(uuid.uuid4())


class Parameters(TypedDict, total=False):
    """Of a job's images; the served bundle's defaults for those left out. The API's docs have the bounds.

    `priority` and `deadline_s` (seconds from its acceptance) say when they are wanted.
    """

    n: int
    negative_prompt: str
    steps: int
    guidance: float
    seed: int
    width: int
    height: int
    resolution: int
    sampler: Literal["ddim", "dpmpp_2m", "euler"]
    deterministic: bool
    priority: Literal["interactive", "batch"]
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Control:
    """One control that the images follow: `image` is annotated, or `map` is ready.

    Attributes:
        type: Name of a control of the served bundle.
        image: The picture whose structure is kept; a list gives each image of the job its own.
        map: A control map likewise, or one that the API has: a `Map` or its id.
        annotator: Makes the map of `image`; the control's own where this is absent.
        parameters: Of the annotator.
        strength: 0 .. 2.
        start: Share of the steps after which it begins to act.
        end: Share of the steps after which it stops.
    """

    type: str
    image: Picture | Sequence[Picture] | None = None
    map: Picture | Map | Sequence[Picture | Map] | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: Literal["balanced", "guess"] = "balanced"
    annotator: str | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how its answer is read.

    Attributes:
        path: Below the API's URL.
        read: Of an answer below 300; raises `ValueError` where it is not what it should be.
        files: Parts of a form, by name; with `body` in the part `request`.
        read_s: The longest silence.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    read: Callable[[httpx.Response], T]
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    read_s: float = READ_S

    @property
    def keyed(self) -> bool:
        """It names itself, so that the API knows it again."""
        return "Idempotency-Key" in self.headers

    @property
    def repeatable(self) -> bool:
        """Sending it twice is sending it once."""
        return self.method != "POST" or self.keyed

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """A new request: one that was sent can't be sent again."""
        form = {"request": json.dumps(self.body)} if self.files else None
        return http.build_request(
            self.method,
            self.path,
            params=list(self.query),
            headers=self.headers,
            json=None if self.files else self.body,
            data=form,
            files={name: (name, data) for name, data in self.files.items()} or None,
            timeout=httpx.Timeout(self.read_s, connect=CONNECT_S),
        )

    def result(self, outcome: Outcome) -> T:
        """What came of the last attempt.

        Raises:
            ServeError: The API refused.
            Unreachable: Nobody answered.
            UnexpectedAnswer: Something else did.
        """
        if isinstance(outcome, httpx.TransportError):
            raise Unreachable(
                f"{self.method} {_url(outcome, self.path)}: {outcome or type(outcome).__name__}"
            ) from outcome
        if not outcome.is_success:
            raise from_answer(outcome)
        try:
            return self.read(outcome)
        except ValueError as error:
            raise unexpected(outcome) from error


def submit(
    prompt: str, controls: Sequence[Control], parameters: Parameters, webhook: str | None, key: str
) -> Call[Job]:
    """`POST /v1/jobs`; reads the files."""
    files = _Files()
    body: dict[str, Any] = {"prompt": prompt, **parameters}
    if controls:
        body["controls"] = [_control(control, files) for control in controls]
    if webhook is not None:
        body["webhook"] = {"url": webhook}
    return Call("POST", "/v1/jobs", _as(Job), headers=_named(key), body=body, files=files.by_name)


def annotate(
    type: str,
    picture: Picture,
    annotator: str | None,
    parameters: Mapping[str, float],
    resolution: int | None,
    size: tuple[int, int] | None,
    key: str,
) -> Call[Map]:
    """`POST /v1/controls/{type}`; reads the file."""
    body: dict[str, Any] = {"image": "image"}  # the file's name
    if annotator is not None:
        body["annotator"] = annotator
    if parameters:
        body["parameters"] = dict(parameters)
    if resolution is not None:
        body["resolution"] = resolution
    if size is not None:
        body["width"], body["height"] = size
    files = {"image": encoded(picture)}
    path = f"/v1/controls/{_segment(type)}"
    return Call("POST", path, _as(Map), headers=_named(key), body=body, files=files, read_s=ANNOTATE_S)


def job(job_id: str) -> Call[Job]:
    """`GET /v1/jobs/{id}`."""
    return Call("GET", _job(job_id), _as(Job))


def jobs(states: Collection[State | str], limit: int, cursor: str | None) -> Call[Page]:
    """`GET /v1/jobs`: one page."""
    query = [*(("state", state) for state in states), ("limit", str(min(limit, LARGEST_PAGE)))]
    if cursor is not None:
        query.append(("cursor", cursor))
    return Call("GET", "/v1/jobs", _as(Page), query=query)


def cancel(job_id: str) -> Call[Job]:
    """`DELETE /v1/jobs/{id}`."""
    return Call("DELETE", _job(job_id), _as(Job))


def image(job_id: str, index: int) -> Call[bytes]:
    """`GET /v1/jobs/{id}/images/{k}`."""
    return Call("GET", f"{_job(job_id)}/images/{index}", _content)


def archive(job_id: str) -> Call[bytes]:
    """`GET /v1/jobs/{id}/archive`."""
    return Call("GET", f"{_job(job_id)}/archive", _content)


def events(job_id: str, headers: Mapping[str, str]) -> Call[bytes]:
    """`GET /v1/jobs/{id}/events`: one connection, which is read as it comes."""
    return Call("GET", f"{_job(job_id)}/events", _content, headers=headers, read_s=LISTEN_S)


def _url(error: httpx.TransportError, path: str) -> str:
    """Where the request went; its path alone where the error does not know."""
    try:
        return str(error.request.url.copy_with(query=None))
    except RuntimeError:
        return path


class _Files:
    """Parts of a form; equal pictures are sent once."""

    def __init__(self) -> None:
        self.by_name: dict[str, bytes] = {}
        self._names: dict[bytes, str] = {}

    def add(self, picture: Picture | Map) -> str:
        """The text that means the picture in the JSON."""
        if isinstance(picture, Map):
            return picture.id
        if isinstance(picture, str) and _MAP_ID.fullmatch(picture):
            return picture
        data = encoded(picture)
        name = self._names.setdefault(hashlib.sha256(data).digest(), f"picture_{len(self._names)}")
        self.by_name[name] = data
        return name


def _control(control: Control, files: _Files) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": control.type,
        "strength": control.strength,
        "start": control.start,
        "end": control.end,
        "mode": control.mode,
    }
    for name, given in (("image", control.image), ("map", control.map)):
        if isinstance(given, Sequence) and not isinstance(given, str | bytes):
            body[name] = [files.add(picture) for picture in given]
        elif given is not None:
            body[name] = files.add(given)
    if control.annotator is not None:
        body["annotator"] = control.annotator
    if control.parameters:
        body["parameters"] = dict(control.parameters)
    return body


def _named(key: str) -> Mapping[str, str]:
    return {"Idempotency-Key": key}


def _job(job_id: str) -> str:
    return f"/v1/jobs/{_segment(job_id)}"


def _segment(text: str) -> str:
    """A part of a path that stays one, whatever it holds."""
    return quote(text, safe="").replace(".", "%2E")


def _as(kind: type[Answer]) -> Callable[[httpx.Response], Answer]:
    def read(answer: httpx.Response) -> Answer:
        return kind.model_validate_json(answer.content)

    return read


def _content(answer: httpx.Response) -> bytes:
    return answer.content
