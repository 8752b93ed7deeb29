"""A plain Ray Serve app: HTTP proxy, one replica, `@serve.batch` before the pipeline.

`python -m ops.bench.peers.batched PORT FOLDER THREADS`. Images of a batch start and end together. In mode `key` a batch
has one key, as `peers.static` explains, and each key a queue of its own; in mode `any` all sizes alike share one
queue, which few pipelines could do: ours steps images of different step counts and windows in one batch.

Two things of `@serve.batch` to know when it is tuned: a batch is closed when its wait is over, also while the one
before is running, so that with a short wait a backlog is made in small batches; and who hung up is left out.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from controlnet.bundle import DEMO
from controlnet.generate import generate
from controlnet.pipeline import ImageSpec, Pipeline
from ops.bench.peers.request import spec_of
from ops.bench.peers.static import key
from serve.deployments.environment import secure_ray
from serve.imaging.png import encode_png

Pixels = npt.NDArray[np.uint8]
Batch = Callable[[ImageSpec], Coroutine[Any, Any, Pixels]]

OBJECT_STORE = 256 << 20  # bytes, as the platform has
MANY = 10_000  # requests that may wait: it refuses none


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `@serve.batch` is told.

    Attributes:
        mode: Which images may share a batch.
        largest: Images in a batch.
        wait: Seconds that the oldest waits for others.
    """

    mode: Literal["key", "any"] = "key"
    largest: int = 8
    wait: float = 0.1

    @property
    def title(self) -> str:
        """For a table."""
        return f"{self.mode}, at most {self.largest}, {self.wait:.2g} s"


class Batched:
    """The deployment.

    Args:
        threads: Of torch.
    """

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._pipeline = Pipeline.load(DEMO)
        self._worker = ThreadPoolExecutor(max_workers=1)  # the one thread that calls torch
        self._tuning = Tuning()
        self._queues: dict[Hashable, Batch] = {}

    async def __call__(self, request: Request) -> Response:
        """`POST /v1/images`; `POST /tuning` sets what comes after it; anything else is a look at its health."""
        match request.url.path:
            case "/tuning":
                self._tuning, self._queues = Tuning(**await request.json()), {}
                return PlainTextResponse(self._tuning.title)
            case "/v1/images":
                spec = spec_of(await request.json())
                png = encode_png(await self._queue(spec)(spec), {})
                return Response(png, media_type="image/png")
            case _:
                return PlainTextResponse("ok")

    def _queue(self, spec: ImageSpec) -> Batch:
        of = key(spec) if self._tuning.mode == "key" else (spec.width, spec.height)
        if of not in self._queues:
            self._queues[of] = self._batch()
        return self._queues[of]

    def _batch(self) -> Batch:
        from ray import serve as ray_serve

        async def make(specs: list[ImageSpec]) -> list[Pixels]:
            return await asyncio.get_running_loop().run_in_executor(self._worker, generate, self._pipeline, specs)

        tuning = self._tuning
        batch: Batch = ray_serve.batch(max_batch_size=tuning.largest, batch_wait_timeout_s=tuning.wait)(make)
        return batch


def main(port: str, folder: str, threads: str) -> None:
    """Serve on loopback until interrupted."""
    secure_ray(Path(folder))
    import ray
    from ray import serve as ray_serve

    from serve.deployments.node import start_node, stop_node

    node = start_node(OBJECT_STORE)
    ray.init(address=node.address, log_to_driver=False)
    ray_serve.start(
        http_options={"host": "127.0.0.1", "port": int(port)},
        logging_config={"encoding": "JSON", "enable_access_log": False},
    )
    deployment = ray_serve.deployment(max_ongoing_requests=MANY, ray_actor_options={"num_cpus": 1})(Batched)
    ray_serve.run(deployment.bind(int(threads)), route_prefix="/")
    over = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: over.set())
    over.wait()
    ray_serve.shutdown()
    ray.shutdown()
    stop_node(node)


if __name__ == "__main__":
    main(*sys.argv[1:])
