"""`GET /v1/controls`."""

from __future__ import annotations

import httpx

from controlnet.annotators import ANNOTATORS


async def test_controls_have_the_bundles_defaults(client: httpx.AsyncClient) -> None:
    canny, sketch = (await client.get("/v1/controls")).json()["controls"]
    assert (canny["type"], canny["annotator"], canny["description"]) == ("canny", "canny", "Edges.")
    low, high = canny["parameters"]
    assert (low["name"], low["minimum"], low["maximum"], low["default"]) == ("low_threshold", 1.0, 255.0, 60.0)
    assert (high["name"], high["default"]) == ("high_threshold", 140.0)
    assert (sketch["annotator"], sketch["parameters"]) == ("none", [])


async def test_all_annotators_are_listed(client: httpx.AsyncClient) -> None:
    annotators = (await client.get("/v1/controls")).json()["annotators"]
    assert {annotator["name"] for annotator in annotators} == set(ANNOTATORS)
    assert all(annotator["description"] for annotator in annotators)


async def test_annotators_are_there_before_any_control(bare_client: httpx.AsyncClient) -> None:
    answer = (await bare_client.get("/v1/controls")).json()
    assert answer["controls"] == []
    assert answer["annotators"]
