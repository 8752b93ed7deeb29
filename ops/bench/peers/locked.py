"""The first demo's shape: one process, one FastAPI app, one lock, one image at a time.

`python -m ops.bench.peers.locked PORT THREADS`. It is that shape done well: the event loop never waits for an image,
torch is only ever called from one thread (`ops.bench.threads` says what two would cost), and nothing is made for a
client that has hung up while it waited.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import uvicorn
from fastapi import FastAPI, Request, Response

from controlnet.bundle import DEMO
from controlnet.generate import generate
from controlnet.pipeline import Pipeline
from ops.bench.bodies import Body
from ops.bench.peers.request import spec_of
from serve.imaging.png import encode_png


def app(pipeline: Pipeline) -> FastAPI:
    """`POST /v1/images` answers with one PNG."""
    api = FastAPI()
    lock = asyncio.Lock()
    worker = ThreadPoolExecutor(max_workers=1)

    def make(body: Body) -> bytes:
        return encode_png(generate(pipeline, [spec_of(body)])[0], {})

    @api.get("/healthz")
    async def health() -> str:
        return "ok"

    @api.post("/v1/images")
    async def images(request: Request) -> Response:
        body = await request.json()
        async with lock:
            if await request.is_disconnected():
                return Response(status_code=499)
            png = await asyncio.get_running_loop().run_in_executor(worker, make, body)
        return Response(png, media_type="image/png")

    return api


def main(port: str, threads: str) -> None:
    """Serve on loopback until interrupted."""
    torch.set_num_threads(int(threads))
    uvicorn.run(app(Pipeline.load(DEMO)), host="127.0.0.1", port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
