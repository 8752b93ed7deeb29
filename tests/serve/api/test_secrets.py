"""No secret is said or kept anywhere: what came in as one is looked for in all that went out or stayed."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import prometheus_client
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from serve.api.app import create_app
from serve.config import Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.signals import SqliteSignals
from serve.jobs.store import JobStore
from serve.telemetry import JsonFormatter
from serve.tenancy.tenancy import Tenancy
from serve.webhooks.sign import master_secret, tenant_secret
from tests.serve.api.conftest import TENANT, Metrics, Worker, bearer, canny, new_key
from tests.serve.tenancy.issuers import AUDIENCE, Signer

HOOK = "https://hooks.example.com/done"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Every line that any logger writes, as the api's process formats it, and its exceptions."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(lambda record: record.name != "httpx")  # the test's own client
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open((tmp_path / "artifacts").as_uri(), {})


@pytest.fixture
def signer() -> Signer:
    signer = Signer()
    signer.add("one")
    return signer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        oidc_issuer=Signer.url,
        oidc_audience=AUDIENCE,
        webhook_hosts=("hooks.example.com",),
        _env_file=None,
    )


@pytest.fixture
def app(
    settings: Settings,
    engine: sa.Engine,
    store: JobStore,
    artifacts: ArtifactStore,
    signals: SqliteSignals,
    metrics: Metrics,
    signer: Signer,
) -> FastAPI:
    tenancy = Tenancy.over(engine, settings, fetch=signer.fetch)
    return create_app(settings, store, tenancy, artifacts, signals, metrics)


async def test_no_secret_is_in_logs_answers_metrics_rows_or_artifacts(
    app: FastAPI,
    settings: Settings,
    engine: sa.Engine,
    worker: Worker,
    metrics: Metrics,
    signer: Signer,
    tmp_path: Path,
    logged: io.StringIO,
) -> None:
    admin, revoked = (new_key(app.state.context.tenancy, role="admin") for _ in range(2))
    claims = {"iss": signer.url, "aud": AUDIENCE, "exp": time.time() + 60, "sub": "eve", "roles": ["member"]}
    token, outsider = (signer.sign(claims | {"tenant": tenant}) for tenant in (TENANT, "unknown"))
    expired = signer.sign(claims | {"tenant": TENANT, "exp": 1})
    wrong = f"{admin[:14]}{'q' * 52}"
    answers: list[httpx.Response] = []
    request = {"prompt": "a gear", "controls": [canny()], "webhook": {"url": HOOK}}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=bearer(admin)) as client:
        made = (await client.post("/v1/keys", json={"name": "n"})).json()["key"]  # the one answer that has a secret
        await client.delete(f"/v1/keys/{revoked[3:13]}")
        for credential in (admin, made, token, revoked, wrong, expired, outsider, f"{token}x", f"x{admin}"):
            headers = bearer(credential)
            answers.append(await client.post("/v1/images", json=request, headers=headers))
            answers.append(await client.post("/v1/images", json=request | {"steps": -1}, headers=headers))
            answers.append(await client.post("/v1/images", content=b"{", headers=headers))  # 415
            for path in ("/v1/jobs", "/v1/jobs/job_0", "/v1/keys", "/v1/audit", "/nowhere", f"/v1/jobs/{credential}"):
                answers.append(await client.get(path, headers=headers))
    statuses = {answer.status_code for answer in answers}
    assert {200, 401, 403, 404, 415, 422} <= statuses

    secrets = {name: text.split("_")[-1] for name, text in (("key", admin), ("made", made), ("revoked", revoked))}
    secrets |= {"wrong": "q" * 52, "token": token, "expired": expired, "outsider": outsider}
    secrets |= {f"signature of {name}": secrets[name].split(".")[2] for name in ("token", "expired", "outsider")}
    master = master_secret(settings)
    secrets |= {"webhook master": master[6:], "webhook secret": tenant_secret(master, TENANT)[6:]}
    places = {
        "logs": logged.getvalue().encode(),
        "answers": b"".join(answer.content + repr(answer.headers).encode() for answer in answers),
        "metrics": prometheus_client.generate_latest(metrics.registry),
        "database": b"".join(file.read_bytes() for file in Path(str(engine.url.database)).parent.glob("jobs.db*")),
        "artifacts": b"".join(file.read_bytes() for file in (tmp_path / "artifacts").rglob("*") if file.is_file()),
    }
    # What should be there is: so they are the right places.
    marks = {"logs": b'"request"', "answers": b"a gear", "metrics": b"cn_jobs_total", "artifacts": b"PNG"}
    for place, mark in (marks | {"database": admin[3:13].encode()}).items():
        assert mark in places[place], place
    found = [(name, place) for name, secret in secrets.items() for place in places if secret.encode() in places[place]]
    assert found == []


@pytest.mark.parametrize("name", ["Authorization", "Cookie"])
async def test_an_unexpected_error_does_not_say_the_header(
    app: FastAPI, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    key = new_key(app.state.context.tenancy)

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(app.state.context.store, "page", broken)
    headers = bearer(key) | ({"Cookie": f"session={key}"} if name == "Cookie" else {})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/v1/jobs", headers=headers)
    assert answer.status_code == 500
    assert "broken" in logged.getvalue()
    assert key[14:] not in logged.getvalue() + answer.text
