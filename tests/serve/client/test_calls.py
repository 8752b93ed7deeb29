"""What is sent."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from serve.client import Control, Map, calls
from serve.client.calls import Call, Parameters
from serve.client.problems import UnexpectedAnswer, Unreachable

PARAMETERS: Parameters = {"n": 2, "seed": 7}
MADE = Map(job="job_1", id="map_ab", type="canny", width=8, height=8, parameters={}, b64="aGk=")


def sent(call: Call[Any]) -> tuple[httpx.Request, dict[str, Any], Mapping[str, bytes]]:
    """The request, its JSON, and its files by name."""
    with httpx.Client(base_url="http://api.test/prefix") as http:
        request = call.request(http)
    body = request.read()
    kind = request.headers.get("Content-Type", "")
    if not kind.startswith("multipart"):
        return request, json.loads(body or b"{}"), {}
    message = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
    text = json.loads(parts.pop("request").get_payload(decode=True))
    return request, text, {name: part.get_payload(decode=True) for name, part in parts.items()}


def submit(*controls: Control, webhook: str | None = None) -> Call[Any]:
    return calls.submit("a gear", controls, PARAMETERS, webhook, "key-1")


def test_a_prompt_alone_is_json() -> None:
    request, body, files = sent(submit())
    assert (request.method, str(request.url)) == ("POST", "http://api.test/prefix/v1/jobs")
    assert request.headers["Idempotency-Key"] == "key-1"
    assert request.headers["Content-Type"] == "application/json"
    assert (body, files) == ({"prompt": "a gear", "n": 2, "seed": 7}, {})


def test_a_webhook_goes_along() -> None:
    _, body, _ = sent(submit(webhook="https://hooks.example.com/"))
    assert body["webhook"] == {"url": "https://hooks.example.com/"}


def test_a_picture_goes_beside_the_json_by_name() -> None:
    _, body, files = sent(submit(Control("canny", image=b"PNG", parameters={"low_threshold": 50.0}, strength=0.5)))
    assert body["controls"] == [
        {
            "type": "canny",
            "strength": 0.5,
            "start": 0.0,
            "end": 1.0,
            "mode": "balanced",
            "image": "picture_0",
            "parameters": {"low_threshold": 50.0},
        }
    ]
    assert files == {"picture_0": b"PNG"}


def test_each_image_may_have_its_own_picture() -> None:
    _, body, files = sent(submit(Control("canny", image=[b"a", b"b"])))
    assert body["controls"][0]["image"] == ["picture_0", "picture_1"]
    assert files == {"picture_0": b"a", "picture_1": b"b"}


def test_equal_pictures_are_sent_once() -> None:
    _, body, files = sent(submit(Control("canny", image=b"a"), Control("depth", image=[b"b", b"a"])))
    assert body["controls"][1]["image"] == ["picture_1", "picture_0"]
    assert files == {"picture_0": b"a", "picture_1": b"b"}


@pytest.mark.parametrize("as_text", [True, False])
def test_a_picture_can_be_a_file(tmp_path: Path, as_text: bool) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"JPEG")
    _, _, files = sent(submit(Control("canny", image=str(file) if as_text else file)))
    assert files == {"picture_0": b"JPEG"}


def test_a_picture_can_be_pillows() -> None:
    _, _, files = sent(submit(Control("canny", image=Image.new("RGB", (3, 2), "red"))))
    assert Image.open(io.BytesIO(files["picture_0"])).size == (3, 2)


@pytest.mark.parametrize("given", [MADE, MADE.id])
def test_a_map_that_the_api_has_is_not_sent_again(given: Map | str) -> None:
    _, body, files = sent(submit(Control("canny", map=given)))
    assert (body["controls"][0]["map"], files) == ("map_ab", {})


def test_a_map_can_be_a_picture(tmp_path: Path) -> None:
    _, body, files = sent(submit(Control("canny", map=[MADE, b"map"])))
    assert body["controls"][0]["map"] == ["map_ab", "picture_0"]
    assert "image" not in body["controls"][0]
    assert files == {"picture_0": b"map"}


def test_a_picture_to_annotate_goes_as_a_file() -> None:
    call = calls.annotate("canny", b"PNG", "threshold", {"threshold": 9.0}, None, (96, 64), "key-1")
    request, body, files = sent(call)
    assert request.url.path == "/prefix/v1/controls/canny"
    assert request.headers["Idempotency-Key"] == "key-1"
    asked = {"annotator": "threshold", "parameters": {"threshold": 9.0}}
    assert body == {"image": "image", "width": 96, "height": 64, **asked}
    assert files == {"image": b"PNG"}


def test_a_map_has_a_short_side_where_one_is_given() -> None:
    _, body, _ = sent(calls.annotate("canny", b"PNG", None, {}, 128, None, "key-1"))
    assert body == {"image": "image", "resolution": 128}


def test_annotating_outlasts_the_wait_of_the_api() -> None:
    request, _, _ = sent(calls.annotate("canny", b"PNG", None, {}, None, None, "key-1"))
    assert request.extensions["timeout"]["read"] > 600


def test_a_page_is_asked_for_by_its_cursor() -> None:
    request, _, _ = sent(calls.jobs(("queued", "running"), 1000, "c=1&x"))
    assert request.url.query == b"state=queued&state=running&limit=200&cursor=c%3D1%26x"


@pytest.mark.parametrize("job_id", ["../models", "a/b", "a?b", "a#b", ".", "..", "job 1"])
def test_an_id_stays_one_part_of_the_path(job_id: str) -> None:
    request, _, _ = sent(calls.job(job_id))
    assert request.url.raw_path.startswith(b"/prefix/v1/jobs/")
    assert request.url.raw_path.count(b"/") == 4
    assert request.url.path == f"/prefix/v1/jobs/{job_id}"


def test_a_submission_can_be_repeated_because_of_its_key() -> None:
    assert submit().repeatable
    assert calls.cancel("job_1").repeatable
    assert not Call("POST", "/v1/jobs", bytes).repeatable  # type: ignore[arg-type]


def test_nobody_who_answers_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="GET /v1/jobs/job_1: refused") as caught:
        calls.job("job_1").result(httpx.ConnectError("refused"))
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize("content", [b"", b"<html>", b"{}", b'{"id": "job_1"}'])
def test_an_answer_without_a_job_is_unexpected(content: bytes) -> None:
    answer = httpx.Response(200, content=content, request=httpx.Request("GET", "http://api.test/v1/jobs/job_1"))
    with pytest.raises(UnexpectedAnswer, match="answered 200"):
        calls.job("job_1").result(answer)
