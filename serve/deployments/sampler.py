"""The sampler: a GPU (or CPU) replica around the engine. Rows in, images out; no SQL, no artifacts, no HTTP."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import ray
import torch
from opentelemetry.trace import Status, StatusCode
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from controlnet.bundle import Bundle
from controlnet.finite import NotFinite
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.pixels import to_hint
from serve.config import Settings
from serve.deployments.environment import usable_cores
from serve.deployments.instruments import RayInstruments
from serve.deployments.messages import Maps, Progress, Sampled, SamplerJob
from serve.engine.core import Batch, EngineClosed, EngineDead, Image, Key
from serve.engine.loop import Engine
from serve.engine.scheduler import Scheduler
from serve.errors import JobFailed
from serve.jobs.cost import cost
from serve.jobs.pace import Pace, PaceLearner
from serve.jobs.spec import JobSpec
from serve.jobs.store import ServedModel
from serve.sampler import PipelineModel, Shelf, spec_of, warm
from serve.telemetry import SamplerMetrics, Tracing, configure_logging

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

PROGRESS_EVERY = 0.5  # seconds; more would cost two hops each and show nothing new
PREVIEW_EVERY = 1.0  # seconds, for each job
CATCH_UP_WITHIN = 5.0  # seconds that a new replica waits for the dispatcher
HELD_FOR = 600.0  # seconds in which pictures are there for who asked; what Ray drops then is made again, at no charge
SHOW_EVERY = 2.0  # seconds between looks at the engine and the GPU
STALLED_AFTER = 300.0  # seconds without a heartbeat while there is work; above the slowest compile and load


class Sampler:
    """Runs the images of many jobs in one continuous batch.

    Args:
        settings: Of the platform.
    """

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        configure_logging(settings.log_level)
        self._settings = settings
        self._device = _device(settings)
        if self._device.type == "cpu":
            # Ray gives a replica with a fraction of a CPU one OpenMP thread; this is the one that should have all.
            torch.set_num_threads(settings.sampler_threads or usable_cores())
        self._shelf = Shelf(settings.bundle_memory, self._load)
        self._preparing = threading.Lock()  # jobs that lack the same bundle must not load it once each
        self._metrics = SamplerMetrics(RayInstruments())
        self._tracing = Tracing("sampler", settings.otlp_endpoint)
        self._name = ray_serve.get_replica_context().replica_id.unique_id
        self._learner, self._learning = PaceLearner(settings.max_rows), threading.Lock()
        scheduler = Scheduler(max_rows=settings.max_rows)
        self._model = PipelineModel(self._shelf, self._metrics.encoded, self._metrics.decoded)
        # On a GPU decoding hides behind the next steps; on a CPU both want all of its cores.
        self._engine = Engine(self._model, scheduler, apart=self._device.type == "cuda", observer=self._observe)
        self._engine.start()
        self._showing = asyncio.create_task(self._show(), name="show")
        await self._catch_up()

    async def prepare(self, served: ServedModel) -> None:
        """Load a bundle and run it once; new jobs may be pinned to it when this returns."""
        await _apart(self._ensure, served.digest, served.source)

    async def pace(self) -> tuple[str, Pace | None]:
        """Who this is, and how long its steps take; nothing before the first."""
        with self._learning:
            return self._name, self._learner.pace()

    async def probe(self, digest: str, source: str) -> None:
        """Make a small image of nobody's by a bundle: a dispatcher asks so whether samplers live.

        Args:
            digest: Of the bundle.
            source: Where it is fetched from.
        """
        if digest not in self._shelf:
            await _apart(self._ensure, digest, source)
        side = self._shelf.get(digest).architecture.multiple
        spec = JobSpec("", "", seeds=(0,), steps=2, guidance=1.0, width=side, height=side)
        job = SamplerJob(f"probe-{secrets.token_hex(8)}", 0, digest, source, spec, images=(0,))
        async with aclosing(self.generate(job)) as events:
            async for event in events:
                if isinstance(event, Sampled):
                    return

    async def generate(self, job: SamplerJob, maps: Maps | None = None) -> AsyncGenerator[Progress | Sampled]:
        """Sample a job's images; the call lasts as long as the job, so that drain sees the work.

        Pictures are this process's: another reads them while it lives and holds them. So the call goes on after the
        last one, and who asked cancels it when it has them all. Leaving it earlier cancels what is left, within a step.
        """
        self._metrics.cache(hit := job.digest in self._shelf)
        # Held to the end: its images must not lose it to another bundle while they wait for seats.
        pipeline = self._shelf.get(job.digest) if hit else await _apart(self._ensure, job.digest, job.source)
        step_gflop = cost(job.spec, pipeline.architecture).step_gflop / job.spec.n
        images = _images(job, maps.pixels if maps is not None else [], self._settings.pinned_rows, step_gflop)
        about_maps = maps.warnings if maps is not None else ()
        warnings = (*pipeline.warnings(spec_of(images[0])), *about_maps)  # of all: they differ in their seeds alone
        inbox = Inbox(asyncio.get_running_loop(), images, self._metrics, self._tracing, job.trace)
        try:
            for image in images:
                self._engine.submit(image, inbox)
            left = {image.id for image in images}
            held: list[ray.ObjectRef[object]] = []  # on its way a reference in a stream keeps nothing: ray#58080
            previewed = float("-inf")
            while left:
                event = await inbox.get()
                if isinstance(event, NotFinite):  # the same on every sampler: no second try
                    raise JobFailed(str(event)) from event
                if isinstance(event, BaseException):
                    raise await self._blame(event)
                if isinstance(event, Progress):
                    now = time.monotonic()
                    if self._settings.previews and now - previewed >= PREVIEW_EVERY:
                        previewed = now
                        event = replace(event, preview=await _apart(self._preview, images, left))
                    yield event
                else:
                    index, picture, seconds = event
                    left.discard(images[index].id)
                    held.append(ray.put(picture))
                    yield Sampled(job.images[index], held[-1], seconds, warnings)
            await asyncio.sleep(HELD_FOR)
        finally:
            for image in images:
                self._engine.cancel(image.id)

    async def _blame(self, error: BaseException) -> BaseException:
        """The error of an image; that of the worker where the GPU has lost its context, and every image fails."""
        if self._device.type == "cuda" and not isinstance(error, EngineClosed):
            try:
                await _apart(torch.cuda.synchronize, self._device)
            except Exception:
                lost = "the GPU has lost its context"
                log.critical(lost, exc_info=error)
                self._engine.give_up(lost)
                return EngineDead(lost)
        return error

    def _preview(self, images: list[Image], left: Collection[str]) -> bytes | None:
        """A JPEG of the first image that is not finished. A failure here is worth no job."""
        try:
            for image in images:
                pixels = self._model.preview(image.id, self._settings.previews) if image.id in left else None
                if pixels is not None:
                    return cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()
        except Exception:
            log.exception("no preview", extra={"job_id": images[0].job})
        return None

    def check_health(self) -> None:
        """Ray Serve replaces a replica whose engine died or has stalled; a dead thread is invisible to it otherwise."""
        if not self._engine.alive:
            raise RuntimeError("the engine is dead")
        if self._engine.heartbeat_age > STALLED_AFTER:
            stalled = f"the engine has not finished a step for {self._engine.heartbeat_age:.0f} s"
            self._engine.give_up(stalled)  # who waits for it hears of a death, not of Serve's stop that follows
            raise RuntimeError(stalled)
        if self._showing.done():  # a GPU that has lost its context fails every image, and this first
            raise RuntimeError("the state of engine and GPU cannot be read") from self._showing.exception()

    async def _catch_up(self) -> None:
        """Prepare what is served now, so that a sampler which was added under load is warm when it gets its first job.

        Where the dispatcher cannot be asked (it is starting too), or the bundle not be had, its reconciler will tell
        all samplers. To end here would do no good: Ray gives up after three times.
        """
        dispatcher = ray_serve.get_deployment_handle("dispatcher", ray_serve.get_replica_context().app_name)
        try:
            async with asyncio.timeout(CATCH_UP_WITHIN):
                served: ServedModel | None = await dispatcher.served.remote()
        except (TimeoutError, RayError, RayServeException):
            return
        if served is not None:
            try:
                await self.prepare(served)
            except Exception:
                log.exception("what is served could not be prepared", extra={"digest": served.digest})

    def _observe(self, batch: Batch, seconds: float) -> None:
        self._metrics.step(batch.rows, batch.bucket, seconds)
        with self._learning:
            self._learner.learn(batch.bucket, batch.gflop, seconds)

    async def _show(self) -> None:
        """Keep the gauges true: what happens in the engine tells of changes, not of how it stands."""
        while True:
            stats = self._engine.stats
            self._metrics.engine({state: getattr(stats, state) for state in ("waiting", "running", "finishing")})
            if self._device.type == "cuda":
                free, total = torch.cuda.mem_get_info(self._device)
                used, reserved = torch.cuda.memory_allocated(self._device), torch.cuda.memory_reserved(self._device)
                self._metrics.memory({"used": used, "reserved": reserved, "free": free, "total": total})
            await asyncio.sleep(SHOW_EVERY)

    def _ensure(self, digest: str, source: str) -> Pipeline:
        with self._preparing:
            if digest in self._shelf:
                return self._shelf.get(digest)
            began = time.monotonic()
            outcome = "failed"
            try:
                pipeline = self._prepare(digest, source)
                outcome = "loaded"
            finally:
                self._metrics.loaded(outcome, time.monotonic() - began)
            return pipeline

    def _prepare(self, digest: str, source: str) -> Pipeline:
        folder = self._settings.bundle_cache / digest.removeprefix("sha256:")
        if not folder.is_dir():
            # MLflow costs seconds and 200 MB to import: only a node that lacks the bundle pays them.
            from serve.registry.registry import Registry

            registry, cache = Registry.from_settings(self._settings), self._settings.bundle_cache
            registry.fetch_source(source, digest, cache, self._shelf.digests)
        return self._shelf.put(digest, folder)

    def _load(self, folder: Path) -> Pipeline:
        """Load a bundle and run it once: one that does not run must not get onto the shelf."""
        dtype = None if self._settings.dtype == "auto" else getattr(torch, self._settings.dtype)
        pipeline = Pipeline.load(folder, device=self._device, dtype=dtype)
        size = Bundle.open(folder).manifest.native_size
        warm(pipeline, size.width, size.height, self._settings.pinned_rows)
        return pipeline


class Inbox:
    """Carries the engine's events from its threads to one job's coroutine; progress is coalesced to the latest.

    Args:
        loop: The coroutine's.
        images: Of the job.
        metrics: Told of each.
        tracing: Makes a span of each, with its steps.
        trace: The job's `traceparent`, if it is traced.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        images: list[Image],
        metrics: SamplerMetrics,
        tracing: Tracing,
        trace: str | None = None,
    ) -> None:
        self._metrics = metrics
        self._spans = {image.id: tracing.open("image", trace, {"image": image.id}) for image in images}
        self._loop = loop
        self._events: asyncio.Queue[Progress | tuple[int, object, float] | BaseException] = asyncio.Queue()
        self._index = {image.id: i for i, image in enumerate(images)}
        self._steps = [0] * len(images)
        self._of = images[0].steps
        self._told = float("-inf")
        self._arrived = time.monotonic()

    async def get(self) -> Progress | tuple[int, object, float] | BaseException:
        """The next event: progress, (index, picture, seconds) of a finished image, or why the job cannot go on."""
        return await self._events.get()

    def started(self, image: Image) -> None:
        """Called by the engine when an image joins the batch."""
        self._metrics.seated(time.monotonic() - self._arrived)
        self._spans[image.id].add_event("seated")

    def stepped(self, image: Image, done: int, of: int) -> None:
        """Called by the engine after every step of an image."""
        self._steps[self._index[image.id]], self._of = done, of
        self._spans[image.id].add_event("step", {"done": done, "of": of})
        now = time.monotonic()
        if now - self._told >= PROGRESS_EVERY:
            self._told = now
            self._post(Progress(tuple(self._steps), of))

    def finished(self, image: Image, result: object) -> None:
        """Called by the engine with the decoded picture."""
        self._metrics.image("finished")
        self._spans[image.id].end()
        self._post((self._index[image.id], result, time.monotonic() - self._arrived))

    def failed(self, image: Image, error: BaseException) -> None:
        """Called by the engine when an image failed alone, or with the engine."""
        self._metrics.image("failed")
        self._end(image, type(error).__name__)
        self._post(error)

    def cancelled(self, image: Image) -> None:
        """Called by the engine; whoever cancelled has stopped listening."""
        self._metrics.image("cancelled")
        self._end(image, "cancelled")

    def _end(self, image: Image, why: str) -> None:
        span = self._spans[image.id]
        span.set_status(Status(StatusCode.ERROR, why))
        span.end()

    def _post(self, event: Progress | tuple[int, object, float] | BaseException) -> None:
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)


def _images(
    job: SamplerJob, maps: list[list[npt.NDArray[np.uint8]]], pinned_rows: int, step_gflop: float = 0.0
) -> list[Image]:
    spec = job.spec
    # One tensor a map, so that images which share it share its embedding.
    hints = [[to_hint(pixels) for pixels in of_control] for of_control in maps]
    key = Key(spec.height, spec.width, job.digest, pinned_rows if spec.deterministic else None)
    images = []
    for i in job.images:
        controls = tuple(
            Control(
                control.type,
                hints[c][i if len(hints[c]) > 1 else 0],
                strength=control.strength,
                start=control.start,
                end=control.end,
                guess=control.mode == "guess",
            )
            for c, control in enumerate(spec.controls)
        )
        payload = ImageSpec(
            prompt=spec.prompt,
            width=spec.width,
            height=spec.height,
            negative_prompt=spec.negative_prompt,
            steps=spec.steps,
            guidance=spec.guidance,
            seed=spec.seeds[i],
            sampler=spec.sampler,
            eta=spec.eta,
            controls=controls,
        )
        images.append(
            Image(
                id=f"{job.id}/{job.fence}/{i}",
                job=job.id,
                key=key,
                rows=spec.rows,
                steps=spec.steps,
                payload=payload,
                gflop=step_gflop,
            )
        )
    return images


async def _apart(call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Compute in a thread that ends with the call.

    Each thread that calls torch gets a pool of OpenMP threads, which stays while the thread lives. When the pools
    together hold more threads than there are cores, GNU's OpenMP lets them sleep at every barrier, and the engine's
    steps take up to three times as long (`ops.bench.threads`).
    """
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="apart")
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, partial(call, *arguments, **options))
    finally:
        thread.shutdown(wait=False)


def _device(settings: Settings) -> torch.device:
    if settings.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(settings.device)
