"""Clients that send when they are due, whether or not the server keeps up, and count from then.

One asyncio loop, in the process of the bench, which computes nothing meanwhile.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np
from PIL import Image

from ops.bench.bodies import Body

LEAD = 0.05  # seconds from the start of the clock to the earliest request
HUNG_UP, BROKEN = 0, -1  # in the place of a status
PNG = {"Accept": "image/png"}


@dataclass(frozen=True, slots=True)
class Server:
    """Who is asked.

    Attributes:
        name: For the table.
        url: Of `/v1/images`, without the path.
        headers: That say who asks.
        told: Whether requests that are not wanted late say so, in `deadline_s`.
    """

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    told: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and when.

    Attributes:
        name: Of the image.
        body: Of the request.
        at: Seconds from the start when it is due.
        patience: Seconds from then after which the client hangs up.
        late: Whether the picture is worth as much afterwards; where not, the server may be told.
    """

    name: str
    body: Body
    at: float = 0.0
    patience: float = 600.0
    late: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    Attributes:
        request: What was sent.
        status: Of HTTP, or `HUNG_UP`, or `BROKEN`.
        seconds: From when it was due.
        body: Of the answer: a PNG where the status is 200.
        location: Where the job is, if the server has jobs.
    """

    request: Request
    status: int
    seconds: float
    body: bytes = b""
    location: str = ""

    @property
    def picture(self) -> object:
        """uint8 [H, W, 3]; where there is none, the status and what was said."""
        if self.status != httpx.codes.OK:
            return f"{self.status} {self.body[:200].decode(errors='replace')}"
        return np.asarray(Image.open(io.BytesIO(self.body)).convert("RGB"))


def send(server: Server, requests: Sequence[Request]) -> list[Outcome]:
    """All of them, each when it is due; returns when each has its end."""

    async def run() -> list[Outcome]:
        # Connections that were idle are not used again: one that the server closes just then would cost a request.
        limits = httpx.Limits(max_connections=None, keepalive_expiry=1.0)
        headers = PNG | server.headers
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=None, limits=limits) as http:
            began = asyncio.get_running_loop().time() + LEAD
            return await asyncio.gather(*(_send(http, server, request, began + request.at) for request in requests))

    return asyncio.run(run())


async def _send(http: httpx.AsyncClient, server: Server, request: Request, due: float) -> Outcome:
    clock = asyncio.get_running_loop().time
    body = request.body
    if server.told and not request.late:
        body = body | {"deadline_s": request.patience}
    await asyncio.sleep(due - clock())
    try:
        async with asyncio.timeout_at(due + request.patience):
            answer = await http.post("/v1/images", json=body)
    except TimeoutError:
        return Outcome(request, HUNG_UP, clock() - due)
    except httpx.TransportError as error:
        return Outcome(request, BROKEN, clock() - due, repr(error).encode())
    location = answer.headers.get("Location", "")
    return Outcome(request, answer.status_code, clock() - due, answer.content, location)
