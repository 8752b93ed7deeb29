"""What strangers send: each a clear 4xx that names the field, none a 500, none a job."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from serve.jobs.store import JobStore
from tests.serve.api.conftest import b64, canny, picture, problem_of
from tests.serve.api.live import Live
from tests.serve.api.test_pictures import animated, png_of, webp_of

URL = "/v1/images"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def client(still: Live, store: JobStore) -> AsyncIterator[httpx.AsyncClient]:
    """Over a socket, to the server that strangers meet."""
    async with httpx.AsyncClient(base_url=still.url, trust_env=False) as client:
        yield client


def prompt(**fields: Any) -> bytes:
    return json.dumps({"prompt": "a gear", **fields}).encode()


def control(**fields: Any) -> bytes:
    return prompt(controls=[canny(**fields)])


CASES: dict[str, tuple[bytes, int, str | None]] = {
    "nothing": (b"", 400, None),
    "not json": (b"prompt=a", 400, None),
    "an array": (b"[]", 400, None),
    "bytes": (b"\xff\xfe\x00", 400, None),
    "nan": (b'{"prompt": "a", "guidance": NaN}', 400, None),
    "infinity": (b'{"prompt": "a", "guidance": -Infinity}', 400, None),
    "infinity in disguise": (b'{"prompt": "a", "guidance": 1e999}', 422, "guidance"),
    "a key twice": (b'{"prompt": "a", "prompt": "b"}', 400, None),
    "deep": (b'{"prompt": ' + b"[" * 100_000, 400, None),
    "wide": (b'{"prompt": [' + b"{}," * 100_000, 400, None),
    "a long integer": (b'{"prompt": "a", "seed": ' + b"9" * 10_000 + b"}", 400, None),
    "a large integer": (b'{"prompt": "a", "seed": ' + b"9" * 100 + b"}", 422, "seed"),
    "large sides": (prompt(width=2**63, height=32), 422, "width"),
    "negative sides": (prompt(width=-32, height=32), 422, "width"),
    "a negative seed": (prompt(seed=-2), 422, "seed"),
    "a large seed": (prompt(seed=2**32), 422, "seed"),
    "no images": (prompt(n=0), 422, "n"),
    "many images": (prompt(n=10**9), 422, "n"),
    "a fraction of a step": (prompt(steps=1.5), 422, "steps"),
    "steps in words": (prompt(steps="20"), 422, "steps"),
    "a truth for a number": (prompt(steps=True), 422, "steps"),
    "a number for a truth": (prompt(deterministic=1), 422, "deterministic"),
    "no guidance": (prompt(guidance=0), 422, "guidance"),
    "much guidance": (prompt(guidance=31), 422, "guidance"),
    "an unknown sampler": (prompt(sampler="../../ddim"), 422, "sampler"),
    "an unknown field": (prompt(tenant="root"), 422, "tenant"),
    "a field of the demo": (prompt(eta=1.0), 422, "eta"),
    "no prompt": (b"{}", 422, "prompt"),
    "a prompt that is none": (prompt(prompt=None), 422, "prompt"),
    "a long prompt": (prompt(prompt="x" * 1001), 422, "prompt"),
    "a long negative prompt": (prompt(negative_prompt="x" * 1001), 422, "negative_prompt"),
    "nul": (prompt(prompt="a\0b"), 422, "prompt"),
    "half a pair": (b'{"prompt": "\\ud800"}', 422, "prompt"),
    "half a pair as a key": (b'{"prompt": "a", "\\ud800": 1}', 422, None),
    "controls that are none": (prompt(controls={}), 422, "controls"),
    "a control that is none": (prompt(controls=["canny"]), 422, "controls.0"),
    "many controls": (prompt(controls=[canny()] * 4), 422, "controls"),
    "an unknown control": (control(type="../canny"), 422, "controls.0.type"),
    "an unknown parameter": (control(parameters={"__class__": 1}), 422, "controls.0.parameters.__class__"),
    "a parameter out of range": (control(parameters={"low_threshold": -1}), 422, "controls.0.parameters.low_threshold"),
    "a parameter in words": (control(parameters={"low_threshold": "9"}), 422, "controls.0.parameters.low_threshold"),
    "much strength": (control(strength=2.5), 422, "controls.0.strength"),
    "a late start": (control(start=1.5), 422, "controls.0.start"),
    "an end before the start": (control(start=0.9, end=0.1), 422, "controls.0.end"),
    "an unknown mode": (control(mode="x"), 422, "controls.0.mode"),
    "no pictures": (control(image=[]), 422, "controls.0.image"),
    "a picture and a map": (control(map=b64(picture())), 422, "controls.0.image"),
    "a url": (control(image="http://169.254.169.254/latest/meta-data"), 422, "controls.0.image"),
    "a long url": (control(image="http://169.254.169.254/" + "a" * 100), 422, "controls.0.image"),
    "a path": (control(image="/etc/passwd"), 422, "controls.0.image"),
    "no base64": (control(image="!" * 100), 422, "controls.0.image"),
    "no picture": (control(image=b64(b"hello" * 30)), 415, "controls.0.image"),
    "svg": (control(image=b64(b"<svg>" + b" " * 100)), 415, "controls.0.image"),
    "eps": (control(image=b64(b"%!PS-Adobe-3.0 EPSF-3.0\n" * 5)), 415, "controls.0.image"),
    "tiff": (control(image=b64(b"II*\0" * 30)), 415, "controls.0.image"),
    "gif": (control(image=b64(b"GIF89a" * 20)), 415, "controls.0.image"),
    "animated": (control(image=b64(animated("PNG"))), 422, "controls.0.image"),
    "a png bomb": (control(image=b64(png_of(50_000, 50_000))), 422, "controls.0.image"),
    "a webp bomb": (control(image=b64(webp_of(16_384, 16_384) + bytes(30))), 422, "controls.0.image"),
    "no area": (control(image=b64(png_of(0, 0))), 422, "controls.0.image"),
    "a strip": (control(image=b64(picture(1000, 10))), 422, "controls.0.image"),
    "a header cut short": (control(image=b64((picture() * 2)[:30] + bytes(30))), 422, "controls.0.image"),
    "the second of a batch": (control(image=[b64(picture()), b64(b"no" * 50)]), 415, "controls.0.image.1"),
}


@pytest.mark.parametrize("case", CASES)
async def test_json(client: httpx.AsyncClient, store: JobStore, case: str) -> None:
    body, status, field = CASES[case]
    problem = problem_of(await client.post(URL, content=body, headers=JSON), status)
    if field is not None:
        assert [error["field"] for error in problem["errors"]] == [field]
    assert store.counts()["queued"] == 0


PART = b'--b\r\nContent-Disposition: form-data; name="request"\r\n\r\n{"prompt": "a gear"}\r\n'
MULTIPART = {
    "no boundary": ("multipart/form-data", b"x"),
    "an empty boundary": ("multipart/form-data; boundary=", b"x"),
    "a long boundary": ("multipart/form-data; boundary=" + "b" * 5000, b"x"),
    "no parts": ("multipart/form-data; boundary=b", b""),
    "no end": ("multipart/form-data; boundary=b", PART[:-10]),
    "another boundary": ("multipart/form-data; boundary=b", b"--c\r\n\r\n--c--\r\n"),
    "no name": ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
    "a part without headers": ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n"),
    "many headers": (
        "multipart/form-data; boundary=b",
        b"--b\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\nx\r\n--b--\r\n",
    ),
    "a long header": ("multipart/form-data; boundary=b", b"--b\r\nX-A: " + b"b" * 100_000 + b"\r\n\r\nx\r\n--b--\r\n"),
    "a preamble without end": ("multipart/form-data; boundary=b", b"\r\n" * 100_000),
    "bytes": ("multipart/form-data; boundary=b", bytes(range(256)) * 10),
    "another charset": ("multipart/form-data; boundary=b; charset=utf-16", PART + b"--b--\r\n"),
    "a request in base64": ("multipart/form-data; boundary=b; charset=base64", b"x"),
}


@pytest.mark.parametrize("path", [URL, "/model/generate"])
@pytest.mark.parametrize("case", MULTIPART)
async def test_multipart(client: httpx.AsyncClient, store: JobStore, path: str, case: str) -> None:
    kind, body = MULTIPART[case]
    answer = await client.post(path, content=body, headers={"Content-Type": kind})
    assert 400 <= answer.status_code < 500, answer.text
    problem_of(answer, answer.status_code)
    assert store.counts()["queued"] == 0
