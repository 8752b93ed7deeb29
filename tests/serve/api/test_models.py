"""`GET /v1/models`."""

from __future__ import annotations

import httpx


async def test_what_is_served(client: httpx.AsyncClient) -> None:
    (model,) = (await client.get("/v1/models")).json()["models"]
    assert (model["name"], model["version"], model["digest"]) == ("controlnet-demo", "3", "sha256:" + "ab" * 32)
    assert model["native_size"] == {"width": 128, "height": 128}
    assert (model["multiple"], model["licence"], model["metrics"]) == (32, "Apache-2.0", {"canny_f1": 0.5})
    assert model["defaults"] == {"steps": 12, "guidance": 5.5, "negative_prompt": "blurry", "sampler": "dpmpp_2m"}
    assert model["context_length"] == 77
    assert model["controls"] == ["canny", "sketch"]


async def test_nothing_is_served_yet(bare_client: httpx.AsyncClient) -> None:
    assert (await bare_client.get("/v1/models")).json() == {"models": []}
