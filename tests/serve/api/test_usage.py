"""`GET /v1/usage`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from serve.jobs.store import JobStore
from tests.serve.api.conftest import Worker, connected, field_of, new_key

URL = "/v1/usage"


async def test_a_job_is_counted_in_the_day_of_its_end(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post("/v1/images", json={"prompt": "a gear", "n": 2, "steps": 5, "width": 64, "height": 32})
    (used,) = (await client.get(URL)).json()["usage"]
    assert used == {
        "day": datetime.now(UTC).date().isoformat(),
        "model": "controlnet-demo",
        "jobs": 1,
        "images": 2,
        "steps": 10,
        "pixels": 2 * 64 * 32,
        "gpu_seconds": 0.25,
        "gflop": used["gflop"],
    }


async def test_another_team_used_nothing(app: FastAPI, client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post("/v1/images", json={"prompt": "a gear"})
    async with connected(app, new_key(app.state.context.tenancy, "other")) as other:
        assert (await other.get(URL)).json()["usage"] == []


async def test_days_are_from_since_up_to_until(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post("/v1/images", json={"prompt": "a gear"})
    today = datetime.now(UTC).date()
    tomorrow, yesterday = today + timedelta(days=1), today - timedelta(days=1)
    inside = await client.get(URL, params={"since": str(today), "until": str(tomorrow)})
    before = await client.get(URL, params={"since": str(yesterday), "until": str(today)})
    assert (len(inside.json()["usage"]), before.json()["usage"]) == (1, [])
    assert (inside.json()["since"], inside.json()["until"]) == (str(today), str(tomorrow))


async def test_thirty_days_when_nothing_is_said(client: httpx.AsyncClient, store: JobStore) -> None:
    answer = (await client.get(URL, params={"until": "2026-03-02"})).json()
    assert (answer["since"], answer["until"]) == ("2026-01-31", "2026-03-02")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "1790000000"}, "since"),
        ({"until": "2026-02-30"}, "until"),
        ({"until": "0001-01-01"}, "until"),
        ({"since": "2026-02-01", "until": "2026-02-01"}, "since"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "since"),
        ({"since": "2020-01-01", "until": "2026-01-01"}, "since"),
    ],
)
async def test_what_is_no_span_of_days_is_refused(client: httpx.AsyncClient, query: dict[str, str], field: str) -> None:
    assert field_of(await client.get(URL, params=query)) == field
