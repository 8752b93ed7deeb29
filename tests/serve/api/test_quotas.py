"""What a team may use, as its members meet it: over HTTP, before a row exists."""

from __future__ import annotations

import pytest

from serve.jobs.database import StoreUnavailable
from serve.tenancy.tenants import Limits, Tenant
from tests.serve.api.conftest import TENANT, b64, connected, new_key, picture, problem_of

REQUEST = {"prompt": "a brass gear", "steps": 2, "width": 128, "height": 128}


@pytest.fixture
def limited(app, store):
    """Limits the team from now on."""

    def limit(**limits):
        app.state.context.tenancy.tenants.apply([Tenant(TENANT, limits=Limits(**limits))], "test")

    return limit


async def post(client, **changes):
    return await client.post("/v1/jobs", json=REQUEST | changes)


async def jobs(client):
    return len((await client.get("/v1/jobs")).json()["jobs"])


async def test_a_team_without_limits_is_told_of_none(client):
    answer = await post(client)
    assert answer.status_code == 202
    assert not {"ratelimit", "ratelimit-policy"} & set(answer.headers)


async def test_requests_for_work_are_counted_and_told(client, limited):
    limited(requests_per_minute=2)
    answers = [await post(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[0].headers["ratelimit-policy"] == '"requests";q=2;w=60'
    assert answers[0].headers["ratelimit"].startswith('"requests";r=1;t=')
    problem = problem_of(answers[2], 429)
    assert problem["type"] == "/problems/quota-exceeded"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].headers["ratelimit"].startswith('"requests";r=0;t=')
    assert await jobs(client) == 2


async def test_looking_is_free(client, limited):
    limited(requests_per_minute=1)
    await post(client)
    assert [(await client.get("/v1/jobs")).status_code for _ in range(5)] == [200] * 5


async def test_a_request_that_is_refused_for_its_rate_is_not_read(client, limited):
    limited(requests_per_minute=1)
    await post(client)
    answer = await client.post("/v1/jobs", content=b"not json", headers={"Content-Type": "application/json"})
    assert answer.status_code == 429


async def test_every_way_to_ask_for_work_is_counted(app, client, limited):
    limited(requests_per_minute=1)
    await post(client)
    routes = ["/v1/images", "/v1/jobs", "/v1/controls/canny", "/model/generate"]
    assert [(await client.post(route, json={})).status_code for route in routes] == [429] * 4


async def test_all_apis_count_together(make_app, client, limited):
    limited(requests_per_minute=2)
    other_app = make_app()
    async with connected(other_app) as other:
        answers = [await post(client), await post(other), await post(client), await post(other)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]


async def test_the_images_of_a_day_are_counted_and_told(client, limited):
    limited(images_per_day=3)
    answer = await post(client, n=2)
    assert answer.headers["ratelimit"].startswith('"images";r=1;t=')
    refused = await post(client, n=2)
    problem = problem_of(refused, 429)
    assert problem["detail"] == "Your team may use 3 images a day (UTC), 2 are used or under way."
    assert int(refused.headers["retry-after"]) > 0
    assert await jobs(client) == 1


async def test_work_is_priced_by_more_than_pixels(client, limited):
    limited(gflop_per_day=1e9)

    async def left(**changes):
        told = (await post(client, **changes)).headers["ratelimit"]
        return int(told.split("r=")[1].split(";")[0])

    start = await left()
    guided = start - await left(steps=90)
    alone = start - guided - await left(steps=90, guidance=1)
    assert guided > 1.8 * alone


async def test_a_job_that_costs_more_than_a_day_holds_names_its_cost_and_the_cap(client, limited):
    limited(gflop_per_day=0.001)
    problem = problem_of(await post(client), 422)
    assert problem["errors"][0]["field"] == "steps"
    assert "GFLOP: your team may use 0.001 a day" in problem["detail"]


async def test_waiting_jobs_are_bounded(client, limited):
    limited(queued_jobs=1)
    answers = [await post(client), await post(client)]
    assert [answer.status_code for answer in answers] == [202, 429]
    assert answers[1].headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("limits", "changes", "field", "bound"),
    [
        ({"max_images": 2}, {"n": 3}, "n", "at most 2 are allowed"),
        ({"max_steps": 3}, {"steps": 4}, "steps", "at most 3 are allowed"),
        ({"max_pixels": 128 * 128}, {"width": 256}, "width", "at most 16384 are made"),
    ],
)
async def test_a_teams_bounds_are_named(client, limited, limits, changes, field, bound):
    limited(**limits)
    problem = problem_of(await post(client, **changes), 422)
    assert problem["errors"][0]["field"] == field
    assert bound in problem["detail"]


async def test_a_bundles_default_is_no_more_than_a_team_may_use(client, limited):
    limited(max_steps=3)
    answer = await post(client, steps=None)
    assert (answer.status_code, answer.json()["parameters"]["steps"]) == (202, 3)


async def test_a_map_takes_no_steps_of_a_team(app, client, limited, worker):
    limited(max_steps=1)
    answer = await client.post("/v1/controls/canny", json={"image": b64(picture())})
    assert answer.status_code == 200


async def test_a_team_cannot_be_given_more_than_the_operator_has(client, limited, settings):
    limited(max_steps=10 * settings.max_steps)
    problem = problem_of(await post(client, steps=settings.max_steps + 1), 422)
    assert f"at most {settings.max_steps} are allowed" in problem["detail"]


async def test_a_model_that_the_team_may_not_use_is_refused(client, limited):
    limited(models=("another",))
    assert problem_of(await post(client), 403)["detail"] == "Your team may not use the model controlnet-demo."
    assert await jobs(client) == 0


async def test_a_model_that_it_may_is_not(client, limited):
    limited(models=("controlnet-demo",))
    assert (await post(client)).status_code == 202


async def test_results_are_kept_as_long_as_the_team_may_keep_them(client, limited, store, worker):
    limited(retention_days=2)
    answer = await client.post("/v1/images", json=REQUEST)
    job = store.get(answer.headers["location"].rpartition("/")[2])
    assert job.expires_at - job.finished_at == pytest.approx(2 * 24 * 3600)


async def test_another_team_is_not_affected(app, client, limited, store):
    limited(requests_per_minute=1)
    await post(client)
    key = new_key(app.state.context.tenancy, "other")
    async with connected(app, key) as other:
        assert (await post(other)).status_code == 202


async def test_an_equal_request_of_an_idempotency_key_takes_nothing_from_the_day(client, limited):
    limited(images_per_day=1)
    answers = [await client.post("/v1/jobs", json=REQUEST, headers={"Idempotency-Key": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert await jobs(client) == 1


async def test_an_accepted_job_is_202_though_it_cannot_be_said_what_is_left(client, limited, store, monkeypatch):
    def away(*_):
        raise StoreUnavailable("away")

    limited(images_per_day=9)
    monkeypatch.setattr(store.spent, "left", away)
    answer = await post(client)
    assert answer.status_code == 202
    assert answer.json()["id"] == store.page(TENANT).jobs[0].id


async def test_a_refusal_is_counted_by_team_and_reason(client, limited, metrics):
    limited(requests_per_minute=1)
    for _ in range(3):
        await post(client)
    labels = {"tenant": TENANT, "reason": "quota-exceeded"}
    assert metrics.registry.get_sample_value("cn_refusals_total", labels) == 2
