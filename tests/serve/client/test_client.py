"""Every test runs both clients."""

from __future__ import annotations

import inspect
import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest

from serve.client import AsyncClient, Client, Control, Ended, Progressed, ResultWarning, Retries, Unreachable
from serve.client.problems import UnexpectedAnswer
from serve.errors import InvalidRequest, JobCancelled, NotFound, Overloaded
from tests.serve.client.conftest import DONE, ENDED, JOB, Wire, event, ok, png, problem, streamed

PUBLIC = [name for name, _ in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")]


@pytest.mark.parametrize("name", [*PUBLIC, "__init__"])
def test_both_clients_have_the_same_methods(name: str) -> None:
    """But for what is awaited: what they return, and the transport and the sleep they are given."""
    ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (Client, AsyncClient))
    assert list(ours) == list(theirs)
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        assert one.kind == other.kind
        if one.name not in ("transport", "sleep"):
            assert (one.annotation, one.default) == (other.annotation, other.default)


def test_neither_client_has_more_methods() -> None:
    assert [name for name, _ in inspect.getmembers(AsyncClient, inspect.isfunction) if name[0] != "_"] == PUBLIC


def test_a_job_is_submitted(wire: Wire) -> None:
    job = wire.answers(ok(JOB, 202)).call("submit", "a gear", n=2)
    assert (job.id, job.state, job.position) == ("job_1", "queued", 2)
    (request,) = wire.requests
    assert json.loads(request.content) == {"prompt": "a gear", "n": 2}
    assert request.headers["Idempotency-Key"] == "key-1"


def test_a_key_of_ones_own_is_used(wire: Wire) -> None:
    wire.answers(ok(JOB, 202)).call("submit", "a gear", idempotency_key="mine")
    assert wire.requests[0].headers["Idempotency-Key"] == "mine"


def test_a_submission_whose_answer_was_lost_is_sent_again_with_its_key(wire: Wire) -> None:
    wire.answers(httpx.ReadError("reset"), problem(409, "conflict", {"Retry-After": "1"}), ok(JOB))
    assert wire.call("submit", "a gear", controls=[Control("canny", image=b"PNG")]).id == "job_1"
    assert [request.headers["Idempotency-Key"] for request in wire.requests] == ["key-1"] * 3
    assert all(b"PNG" in request.content for request in wire.requests)
    assert wire.pauses == [1.0, 3.0]


def test_a_busy_api_is_asked_again_after_the_time_it_asks_for(wire: Wire) -> None:
    wire.answers(problem(503, "overloaded", {"Retry-After": "5"}), ok(JOB))
    assert wire.call("job", "job_1").id == "job_1"
    assert wire.pauses == [6.0]


def test_attempts_end(wire: Wire) -> None:
    wire.answers(*[httpx.ConnectError("refused")] * 4)
    with pytest.raises(Unreachable, match="refused"):
        wire.call("job", "job_1")
    assert wire.pauses == [1.0, 2.0, 3.0]


def test_attempts_that_were_answered_end_with_what_was_said(wire: Wire) -> None:
    wire.answers(*(problem(503, "overloaded") for _ in range(4)))
    with pytest.raises(Overloaded, match="no"):
        wire.call("job", "job_1")


def test_what_is_wrong_with_a_request_is_said_once(wire: Wire) -> None:
    wire.answers(problem(422, "invalid-request", errors=[{"field": "steps", "detail": "must be at most 100"}]))
    with pytest.raises(InvalidRequest) as caught:
        wire.call("submit", "a gear", steps=101)
    assert (caught.value.field, caught.value.request_id) == ("steps", "req_1")


@pytest.mark.parametrize("key", [None, "secret"])
def test_the_api_key_goes_along(wire: Wire, key: str | None) -> None:
    wire.key = key
    wire.answers(ok(JOB)).call("job", "job_1")
    assert wire.requests[0].headers.get("Authorization") == (None if key is None else "Bearer secret")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["http://api.test", "http://127.0.0.1.evil.test", "ftp://127.0.0.2.test"])
def test_the_api_key_is_not_sent_where_it_can_be_read(kind: type[Client | AsyncClient], url: str) -> None:
    with pytest.raises(ValueError, match="only sent over https"):
        kind(url, "secret")
    kind(url)


@pytest.mark.parametrize("url", ["https://api.test", "http://127.0.0.1:8000", "http://localhost", "http://[::1]:80"])
def test_it_is_sent_where_it_can_not(url: str) -> None:
    Client(url, "secret").close()


def test_the_api_key_is_not_taken_elsewhere(wire: Wire) -> None:
    wire.key = "secret"
    wire.answers(httpx.Response(307, headers={"Location": "http://evil.test/"}))
    with pytest.raises(UnexpectedAnswer, match="answered 307"):
        wire.call("job", "job_1")


def test_jobs_come_page_by_page(wire: Wire) -> None:
    pages = [ok({"jobs": [JOB | {"id": f"job_{i}"}], "next": cursor}) for i, cursor in ((1, "c"), (2, None))]
    assert [job.id for job in wire.answers(*pages).call("jobs", ("queued",))] == ["job_1", "job_2"]
    assert [str(request.url.query, "ascii") for request in wire.requests] == [
        "state=queued&limit=200",
        "state=queued&limit=200&cursor=c",
    ]


def test_no_more_jobs_come_than_were_asked_for(wire: Wire) -> None:
    pages = [ok({"jobs": [JOB, JOB], "next": "c"}), ok({"jobs": [JOB, JOB], "next": "d"})]
    assert len(wire.answers(*pages).call("jobs", limit=3)) == 3
    assert [request.url.params["limit"] for request in wire.requests] == ["3", "1"]


def test_a_page_with_a_job_of_a_newer_api_comes_whole(wire: Wire) -> None:
    strange = JOB | {"id": "job_2", "state": "paused", "kind": "upscale", "priority": "urgent"}
    wire.answers(ok({"jobs": [strange, JOB], "next": None}))
    assert [job.state for job in wire.call("jobs", ("paused", "queued"))] == ["paused", "queued"]
    assert wire.requests[0].url.params.get_list("state") == ["paused", "queued"]


def test_a_job_is_cancelled(wire: Wire) -> None:
    assert wire.answers(ok(JOB | {"state": "cancelled"}, 202)).call("cancel", "job_1").state == "cancelled"
    assert wire.requests[0].method == "DELETE"


def test_images_are_fetched_in_their_order(wire: Wire) -> None:
    assert wire.answers(ok(DONE), png(b"a"), png(b"b")).call("images", "job_1") == [b"a", b"b"]
    assert [request.url.path for request in wire.requests[1:]] == [f"/v1/jobs/job_1/images/{k}" for k in (0, 1)]


def test_images_that_are_not_made_yet_are_not_waited_for(wire: Wire) -> None:
    wire.answers(ok(JOB), problem(404, "not-found", {"Retry-After": "1"}))
    with pytest.raises(NotFound):
        wire.call("images", "job_1")


def test_an_archive_is_unpacked(wire: Wire, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("image_0.png", b"i")
    answer = httpx.Response(200, content=buffer.getvalue(), headers={"Content-Type": "application/zip"})
    assert wire.answers(answer).call("download", "job_1", tmp_path) == [tmp_path / "image_0.png"]
    assert wire.requests[0].url.path == "/v1/jobs/job_1/archive"


def test_a_picture_is_annotated(wire: Wire) -> None:
    made = {"job": "job_1", "id": "map_ab", "type": "canny", "width": 8, "height": 4, "parameters": {}, "b64": "aGk="}
    control_map = wire.answers(ok(made)).call("annotate", "canny", b"PNG")
    assert (control_map.id, control_map.width, control_map.height, control_map.png) == ("map_ab", 8, 4, b"hi")


def test_waiting_ends_with_the_job(wire: Wire) -> None:
    seen: list[object] = []
    progress = event("progress", {"job": "job_1", "steps": [1, 0], "of": 10})
    job = wire.answers(streamed(progress, ENDED)).call("wait", "job_1", seen.append)
    assert job.state == "succeeded"
    assert [type(item) for item in seen] == [Progressed, Ended]


def test_waiting_for_a_job_that_fails_is_no_error(wire: Wire) -> None:
    ended = event("cancelled", {"job": DONE | {"state": "cancelled"}}, 3)
    assert wire.answers(streamed(ended)).call("wait", "job_1").state == "cancelled"


def test_generating_is_submitting_waiting_and_fetching(wire: Wire) -> None:
    wire.answers(ok(JOB, 202), streamed(ENDED), png(b"a"), png(b"b"))
    assert wire.call("generate", "a gear", n=2) == [b"a", b"b"]


def test_generating_warns_of_what_had_no_effect(wire: Wire) -> None:
    warned = {"code": "prompt-cut", "field": "prompt", "detail": "The prompt was cut.", "new": 1}
    wire.answers(ok(JOB, 202), streamed(event("succeeded", {"job": DONE | {"n": 1, "warnings": [warned]}})), png(b"a"))
    with pytest.warns(ResultWarning, match="The prompt was cut") as caught:
        wire.call("generate", "a gear")
    assert "/tests/" in caught[0].filename  # the caller's line


def test_generating_raises_what_ended_the_job(wire: Wire) -> None:
    wire.answers(ok(JOB, 202), streamed(event("cancelled", {"job": DONE | {"state": "cancelled"}})))
    with pytest.raises(JobCancelled) as caught:
        wire.call("generate", "a gear")
    assert caught.value.job == "job_1"


def test_keys_are_made_up_one_for_each_submission() -> None:
    keys = []

    def handle(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        return ok(JOB, 202)

    with Client("http://api.test", retries=Retries(attempts=1), transport=httpx.MockTransport(handle)) as client:
        client.submit("a gear")
        client.submit("a gear")
    assert len(set(keys)) == 2
    assert all(len(key) == 36 for key in keys)
