"""One attempt at a job: through imaging and sampling, and what is written of it on the way.

A client waits for whatever is waited for here. So maps are stored while the sampler works with them, progress is
written beside the stream of steps, and the image that makes a job complete has no transaction of its own: it is told in
that of the job's end.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from contextlib import ExitStack

from ray.serve.handle import DeploymentHandle, DeploymentResponse

from controlnet.warnings import ResultWarning
from serve.deployments.ask import Ask
from serve.deployments.messages import Progress, Sampled, SamplerJob, StoredMaps
from serve.deployments.outages import wait_out
from serve.deployments.progress import ProgressWriter
from serve.deployments.publication import png_parameters, steered
from serve.jobs.store import JobResult, JobStore, Lease, StoredImage
from serve.registry.registry import source_of
from serve.telemetry import DispatcherMetrics, Tracing, carry


class Attempt:
    """Makes what a leased job asks for, and ends it.

    Args:
        lease: Of the job.
        imaging: Handle of the imaging deployment.
        sampler: Handle of the sampler deployment.
        store: Told of maps, steps, images and the end.
        ask: Calls it.
        progress: Shows steps.
        compares: Whether the next image is to be compared with its map.
        metrics: Told of the first step.
        tracing: Of the process.
    """

    def __init__(
        self,
        lease: Lease,
        imaging: DeploymentHandle,
        sampler: DeploymentHandle,
        store: JobStore,
        ask: Ask,
        progress: ProgressWriter,
        compares: Callable[[], bool],
        metrics: DispatcherMetrics,
        tracing: Tracing,
    ) -> None:
        self._lease = lease
        self._imaging = imaging
        self._sampler = sampler
        self._store = store
        self._ask = ask
        self._progress = progress
        self._compares = compares
        self._metrics = metrics
        self._tracing = tracing
        self._maps: DeploymentResponse | None = None
        self._warnings: tuple[ResultWarning, ...] | None = None  # none but those of maps until an image is there
        self._unstored = 0
        self._untold: list[int] = []  # images whose events are written with the job's end

    async def run(self, sampled: Callable[[], None]) -> None:
        """Annotate, sample while maps are stored, publish, and end the job with what was made.

        Args:
            sampled: Called when the job's rows have left their seats.

        Raises:
            LeaseLost: Another has the job.
            ServeError: The request is at fault.
            Exception: Ours is.
        """
        job = self._lease.job
        began = self._store.clock()
        if self._lease.attempt == 1:
            self._tracing.past("queue", job.trace, job.created_at, began)
        timings = {"queued": began - job.created_at}
        images: tuple[StoredImage, ...] = ()
        with ExitStack() as afterwards:  # what no client waits for
            if job.spec.controls:
                self._maps = self._imaging.annotate.remote(job.tenant, job.spec, carry())
                afterwards.callback(self._maps.cancel)
            try:
                async with asyncio.TaskGroup() as tasks:
                    storing = tasks.create_task(self._store_maps())
                    if job.spec.kind != "map":
                        images = await self._images(tasks, sampled, timings, afterwards)
                    # Not at the group's end: what fails there leaves this task counted as cancelled until Python 3.13.
                    stored = await storing
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            timings["preparing"] = stored.seconds
            timings["total"] = self._store.clock() - job.created_at
            warnings = stored.warnings if self._warnings is None else self._warnings
            result = JobResult(images=images, control_maps=stored.maps, timings=timings, warnings=warnings)
            with self._tracing.span("commit"):
                await self._ask(self._store.succeed, self._lease, result, self._untold)

    async def _store_maps(self) -> StoredMaps:
        """Have the job's maps stored, and tell of them."""
        if self._maps is None:
            return StoredMaps()
        job = self._lease.job

        async def store() -> StoredMaps:
            made: StoredMaps = await self._imaging.store_maps.remote(job.tenant, job.spec, self._maps, carry())
            return made

        # What is sampled meanwhile is not made twice. A map alone is, as it may be what it was made of that is away.
        stored = await (store() if job.spec.kind == "map" else wait_out(store, lambda error: None))
        await self._ask(self._store.annotated, self._lease, stored.maps)
        return stored

    async def _images(
        self, tasks: asyncio.TaskGroup, sampled: Callable[[], None], timings: dict[str, float], afterwards: ExitStack
    ) -> tuple[StoredImage, ...]:
        """The job's images in the order of their seeds, stored.

        What an earlier attempt told of is not made again: a client may have it, and it is the result's.
        """
        n = self._lease.job.spec.n
        told = await self._ask(self._store.events, self._lease.job.id) if n > 1 else []  # the last is told with the end
        stored = {event.data["index"]: StoredImage(**event.data["image"]) for event in told if event.kind == "image"}
        left = tuple(i for i in range(n) if i not in stored)
        if left:
            stored |= await self._sample(left, tasks, sampled, timings, afterwards)
        return tuple(stored[i] for i in range(n))

    async def _sample(
        self,
        left: tuple[int, ...],
        tasks: asyncio.TaskGroup,
        sampled: Callable[[], None],
        timings: dict[str, float],
        afterwards: ExitStack,
    ) -> dict[int, StoredImage]:
        """Make those of the job's images that are left, and have them stored; by index."""
        self._unstored = len(left)
        images: dict[int, asyncio.Task[StoredImage]] = {}
        preview: dict[str, str] = {}  # the latest stays in the row: who comes later sees it too
        stream = self._sampler.options(stream=True).generate.remote(self._work(left), self._maps)
        afterwards.callback(stream.cancel)
        stepped = False
        try:
            async for event in stream:
                if not stepped and self._lease.attempt == 1:
                    self._metrics.first_step(self._store.clock() - self._lease.job.created_at)
                stepped = True
                if isinstance(event, Progress):
                    if event.preview is not None:
                        preview["preview"] = f"data:image/jpeg;base64,{base64.b64encode(event.preview).decode()}"
                    steps = [event.of] * self._lease.job.spec.n
                    for i, done in zip(left, event.steps, strict=True):
                        steps[i] = done
                    self._progress.give(self._lease, {"steps": steps, "of": event.of, **preview})
                elif isinstance(event, Sampled):
                    timings["sampling"] = event.seconds  # of the last one, in the end
                    self._warnings = event.warnings
                    images[event.index] = tasks.create_task(self._publish(event))
                    if len(images) == len(left):
                        break  # the sampler keeps them until the call is cancelled
            ended = time.monotonic()
            sampled()
            stored = {i: await images[i] for i in left}
        finally:
            self._progress.drop(self._lease)
        timings["publishing"] = time.monotonic() - ended
        return stored

    def _work(self, left: tuple[int, ...]) -> SamplerJob:
        job = self._lease.job
        source = source_of(job.model.name, job.model.version)
        return SamplerJob(job.id, self._lease.fence, job.model.digest, source, job.spec, left, carry())

    async def _publish(self, event: Sampled) -> StoredImage:
        job, seed = self._lease.job, self._lease.job.spec.seeds[event.index]
        compared = steered(job, event.index) if self._compares() else None
        maps = self._maps if compared is not None else None

        async def publish() -> StoredImage:
            made: StoredImage = await self._imaging.publish.remote(
                job.tenant, event.picture, seed, png_parameters(job, seed, event.warnings), compared, maps, carry()
            )
            return made

        stored = await wait_out(publish, lambda error: None)  # what was sampled is not made twice
        self._unstored -= 1
        if self._unstored:
            await self._ask(self._store.image_done, self._lease, event.index, stored)
        else:
            self._untold.append(event.index)
        return stored
