"""`cnserve jobs` over a script instead of sockets."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

import serve.commands.jobs
from serve.cli import app
from serve.client import Client, Retries
from tests.serve.client.conftest import DONE, ENDED, JOB, event, ok, problem, streamed
from tests.serve.client.test_archive import archive


class Api:
    """Answers requests in the order of its script."""

    def __init__(self) -> None:
        self.script: list[httpx.Response | Exception] = []
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Api:
    api = Api()
    monkeypatch.setattr(serve.commands.jobs, "Client", functools.partial(Client, transport=httpx.MockTransport(api)))
    for name in ("BRIEF", "PATIENT"):
        monkeypatch.setattr(serve.commands.jobs, name, Retries(attempts=1))
    monkeypatch.chdir(tmp_path)  # no .env of whoever runs the tests
    monkeypatch.setenv("COLUMNS", "160")
    return api


def jobs(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["jobs", *arguments])


def test_jobs_are_listed(api: Api) -> None:
    running = JOB | {"id": "job_2", "state": "running", "progress": {"steps": [3, 4], "of": 10}}
    api.script = [ok({"jobs": [running, JOB | {"parameters": {"prompt": "a [red]gear"}}], "next": None})]
    result = jobs("list", "--state", "running", "--state", "queued", "--limit", "5")
    lines = [line for line in result.output.splitlines() if "job_" in line]
    assert [part in lines[0] for part in ("job_2", "running", "7/20", "a gear")] == [True] * 4
    assert "a [red]gear" in lines[1]
    assert str(api.requests[0].url) == "http://127.0.0.1:8000/v1/jobs?state=queued&state=running&limit=5"


WHOLE = "job_0199a228f31d" + "ab" * 10


def test_ids_are_whole_on_a_line_of_80(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = JOB | {"id": WHOLE, "state": "succeeded", "progress": {"steps": [100] * 12, "of": 100}}
    api.script = [ok({"jobs": [long], "next": None})]
    header, line = jobs("list").output.splitlines()
    assert line.split()[:3] == [WHOLE, "succeeded", "1200/1200"]
    assert header.split() == ["job", "state", "progress", "created", "prompt"]


def test_the_beginning_of_an_id_is_enough(api: Api) -> None:
    api.script = [ok({"jobs": [JOB | {"id": WHOLE}, JOB], "next": None}), ok(JOB)]
    assert jobs("show", WHOLE[:16]).exit_code == 0
    assert api.requests[1].url.path == f"/v1/jobs/{WHOLE}"


def test_the_beginning_of_several_ids_is_not(api: Api) -> None:
    api.script = [ok({"jobs": [JOB | {"id": WHOLE}, JOB | {"id": f"{WHOLE[:-1]}0"}], "next": None})]
    result = jobs("cancel", WHOLE[:16])
    assert (result.exit_code, result.output) == (
        1,
        f"{WHOLE[:16]} is the beginning of 2 jobs: write more of the id\n",
    )


def test_a_key_that_is_missing_is_told_with_its_variable(api: Api) -> None:
    api.script = [problem(401, "unauthenticated", title="Who asks is not known")]
    result = jobs("list")
    assert result.exit_code == 1
    assert "set CN_KEY to a key of your team: `cnserve keys create TENANT`" in result.output


def test_a_job_of_a_newer_api_is_listed_with_the_others(api: Api) -> None:
    strange = JOB | {"id": "job_2", "state": "paused", "kind": "upscale", "priority": "urgent"}
    api.script = [ok({"jobs": [strange, JOB], "next": None})]
    result = jobs("list")
    assert result.exit_code == 0
    assert ["paused" in line for line in result.output.splitlines() if "job_" in line] == [True, False]


@pytest.mark.parametrize(("made", "code"), [(1, 1), (2, 0)])
def test_an_end_of_a_newer_api_is_a_success_if_all_images_are_made(api: Api, made: int, code: int) -> None:
    images = [{"index": i, "seed": i, "width": 8, "height": 8, "url": f"/{i}"} for i in range(made)]
    api.script = [streamed(event("partial", {"job": DONE | {"state": "partial", "images": images}}, 9))]
    result = jobs("watch", "job_1")
    assert result.exit_code == code
    assert ("ended as 'partial'" in result.output) == (code == 1)


def test_a_problem_of_a_newer_api_is_told(api: Api) -> None:
    api.script = [problem(403, "team-closed", title="The team is closed")]
    result = jobs("show", "job_1")
    assert (result.exit_code, result.output) == (1, "no (The team is closed, request req_1)\n")


def test_a_state_is_one_of_five(api: Api) -> None:
    result = jobs("list", "--state", "lost")
    assert result.exit_code == 2
    assert "'lost' is not one of queued, running, succeeded, failed, cancelled." in " ".join(result.output.split())


def test_a_job_is_shown_as_json(api: Api) -> None:
    api.script = [ok(JOB)]
    assert json.loads(jobs("show", "job_1").output)["model"]["version"] == "3"


def test_a_job_is_watched_to_its_end(api: Api) -> None:
    api.script = [streamed(event("progress", {"job": "job_1", "steps": [1, 0], "of": 10}), ENDED)]
    result = jobs("watch", "job_1")
    assert result.exit_code == 0
    assert "succeeded" in result.output


@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        ("cancelled", None, "The job was cancelled."),
        ("failed", {"type": "/problems/unsupported-media", "detail": "no picture"}, "no picture"),
    ],
)
def test_watching_fails_as_the_job_did(api: Api, state: str, error: dict[str, str] | None, told: str) -> None:
    api.script = [streamed(event(state, {"job": DONE | {"state": state, "error": error}}))]
    result = jobs("watch", "job_1")
    assert result.exit_code == 1
    assert told in result.output


@pytest.mark.parametrize(("state", "told"), [("running", "stopping"), ("cancelled", "cancelled")])
def test_a_job_is_cancelled(api: Api, state: str, told: str) -> None:
    api.script = [ok(JOB | {"state": state}, 202)]
    assert jobs("cancel", "job_1").output == f"job_1  {told}\n"
    assert api.requests[0].method == "DELETE"


def test_a_job_is_downloaded_into_a_folder_of_its_name(api: Api, tmp_path: Path) -> None:
    api.script = [httpx.Response(200, content=archive(**{"image_0.png": b"i"}))]
    assert jobs("download", "job_1").output == "job_1/image_0.png\n"
    assert (tmp_path / "job_1/image_0.png").read_bytes() == b"i"


def test_a_job_is_downloaded_where_it_is_said(api: Api, tmp_path: Path) -> None:
    api.script = [httpx.Response(200, content=archive(**{"image_0.png": b"i"}))]
    jobs("download", "job_1", str(tmp_path / "here"))
    assert (tmp_path / "here/image_0.png").exists()


def test_a_submission_prints_the_id_alone(api: Api) -> None:
    api.script = [ok(JOB, 202)]
    assert jobs("submit", "a gear", "-n", "2", "--seed", "7", "--key", "mine").output == "job_1\n"
    assert json.loads(api.requests[0].content) == {"prompt": "a gear", "n": 2, "seed": 7}
    assert api.requests[0].headers["Idempotency-Key"] == "mine"


def test_a_submission_takes_pictures_and_maps(api: Api, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"JPEG")
    api.script = [ok(JOB, 202)]
    assert jobs("submit", "a gear", "-c", "canny=photo.jpg", "-m", "depth=map_ab").exit_code == 0
    body = api.requests[0].content
    assert b"JPEG" in body
    assert b'"map": "map_ab"' in body


@pytest.mark.parametrize("control", ["canny", "=photo.jpg", "canny="])
def test_a_control_has_a_type_and_a_picture(api: Api, control: str) -> None:
    result = jobs("submit", "a gear", "-c", control)
    assert result.exit_code == 2
    assert "is not TYPE=PICTURE" in result.output


def test_a_submission_can_be_waited_for(api: Api) -> None:
    api.script = [ok(JOB, 202), streamed(ENDED)]
    result = jobs("submit", "a gear", "--wait")
    assert result.exit_code == 0
    assert "succeeded" in result.output


def test_a_picture_that_is_not_there_is_told(api: Api) -> None:
    result = jobs("submit", "a gear", "-c", "canny=none.jpg")
    assert result.exit_code == 1
    assert "none.jpg" in result.output


def test_what_the_api_refuses_is_told_with_what_to_quote(api: Api) -> None:
    api.script = [problem(422, "invalid-request", errors=[{"field": "n", "detail": "must be at most 12"}])]
    result = jobs("submit", "a gear", "-n", "99")
    assert (result.exit_code, result.output) == (1, "no (The request is not valid, field n, request req_1)\n")


def test_an_api_that_is_not_there_is_told(api: Api) -> None:
    api.script = [httpx.ConnectError("Connection refused")]
    result = jobs("list")
    assert (result.exit_code, result.output) == (
        1,
        "GET http://127.0.0.1:8000/v1/jobs: Connection refused (start the platform with `cnserve up`, or set CN_URL to "
        "where it is)\n",
    )


def test_url_and_key_come_from_the_settings(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_URL", "https://images.example.com")
    monkeypatch.setenv("CN_KEY", "secret")
    api.script = [ok(JOB)]
    jobs("show", "job_1")
    (request,) = api.requests
    assert request.url.host == "images.example.com"
    assert request.headers["Authorization"] == "Bearer secret"


def test_on_the_machine_of_the_platform_its_key_is_found(
    api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))
    (tmp_path / "demo.key").write_text("cn_kept\n")
    api.script = [ok(JOB), ok(JOB)]
    jobs("show", "job_1")
    monkeypatch.setenv("CN_URL", "https://images.example.com")
    jobs("show", "job_1")
    assert [request.headers.get("Authorization") for request in api.requests] == ["Bearer cn_kept", None]


def test_a_key_that_could_be_read_on_its_way_is_not_sent(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_URL", "http://images.example.com")
    monkeypatch.setenv("CN_KEY", "secret")
    result = jobs("show", "job_1")
    assert result.exit_code == 1
    assert "only sent over https" in result.output
    assert api.requests == []
