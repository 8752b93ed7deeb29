"""Between the engine's threads and one job's coroutine; no network is loaded."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controlnet.architecture import SD15
from controlnet.bundle import DEMO
from controlnet.finite import NotFinite
from controlnet.pipeline import ImageSpec
from controlnet.warnings import ResultWarning
from serve.config import Settings
from serve.deployments import sampler as module
from serve.deployments.messages import Maps, Progress, Sampled, SamplerJob
from serve.deployments.sampler import Inbox, Sampler, _images
from serve.engine.core import Batch, EngineDead, Image, Key, Listener
from serve.errors import JobFailed
from serve.jobs.cost import cost
from serve.jobs.pace import Pace, PaceLearner
from serve.jobs.spec import JobSpec
from serve.sampler import Shelf
from serve.telemetry import Tracing

ONE_STEP = ResultWarning("one-step", "steps", "One step.")

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEY = Key(192, 256, "sha256:aa")


class Metrics:
    """Counts what an inbox tells."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []
        self.waits: list[float] = []

    def image(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def seated(self, seconds: float) -> None:
        self.waits.append(seconds)

    def cache(self, hit: bool) -> None:
        self.outcomes.append("hit" if hit else "miss")

    def step(self, rows: int, bucket: int, seconds: float) -> None:
        self.outcomes.append("step")


class Engine:
    """Stands for the engine: keeps what is submitted, and tells listeners what a test wants."""

    def __init__(self) -> None:
        self.submitted: dict[str, tuple[Image, Listener]] = {}
        self.cancelled: list[str] = []
        self.full = asyncio.Event()
        self.given_up: list[str] = []

    def give_up(self, reason: str) -> None:
        self.given_up.append(reason)

    def submit(self, image: Image, listener: Listener) -> None:
        self.submitted[image.id] = image, listener
        if len(self.submitted) == 2:
            self.full.set()

    def cancel(self, image_id: str) -> bool:
        self.cancelled.append(image_id)
        return True


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def images() -> list[Image]:
    return [Image(f"job/1/{i}", "job", KEY, 2, 20, None) for i in range(2)]


@pytest.fixture
async def inbox(images: list[Image], metrics: Metrics) -> Inbox:
    return Inbox(asyncio.get_running_loop(), images, metrics, Tracing("sampler", None))


def maps(count: int) -> list[list[np.ndarray]]:
    """Maps of one control, the k-th all of value 51 k."""
    return [[np.full((192, 256, 3), 51 * k, np.uint8) for k in range(count)]]


def sampler_job(spec: JobSpec) -> SamplerJob:
    return SamplerJob("job", 2, "sha256:aa", "models:/demo/3", spec, tuple(range(spec.n)))


def payload(image: Image) -> ImageSpec:
    assert isinstance(image.payload, ImageSpec)
    return image.payload


async def test_progress_is_of_all_images(inbox: Inbox, images: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_EVERY", 0.0)
    inbox.stepped(images[0], 3, 20)
    inbox.stepped(images[1], 2, 20)
    assert [await inbox.get(), await inbox.get()] == [Progress((3, 0), 20), Progress((3, 2), 20)]


async def test_progress_in_between_is_left_out(
    inbox: Inbox, images: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROGRESS_EVERY", float("inf"))
    inbox.stepped(images[0], 1, 20)
    inbox.stepped(images[0], 2, 20)
    inbox.failed(images[0], ValueError())
    assert await inbox.get() == Progress((1, 0), 20)
    assert isinstance(await inbox.get(), ValueError)


async def test_a_finished_image_comes_with_its_place(inbox: Inbox, images: list[Image]) -> None:
    inbox.started(images[1])
    inbox.finished(images[1], "picture")
    event = await inbox.get()
    assert isinstance(event, tuple)
    assert event[:2] == (1, "picture")


async def test_events_come_from_another_thread(inbox: Inbox, images: list[Image]) -> None:
    waiting = asyncio.create_task(inbox.get())
    await asyncio.to_thread(inbox.stepped, images[0], 1, 20)
    assert await waiting == Progress((1, 0), 20)


async def test_every_outcome_is_counted(inbox: Inbox, images: list[Image], metrics: Metrics) -> None:
    inbox.started(images[0])
    inbox.finished(images[0], "picture")
    inbox.failed(images[1], ValueError())
    inbox.cancelled(images[1])
    assert metrics.outcomes == ["finished", "failed", "cancelled"]


async def test_the_wait_for_a_seat_is_timed(inbox: Inbox, images: list[Image], metrics: Metrics) -> None:
    inbox.started(images[0])
    (waited,) = metrics.waits
    assert waited >= 0


def test_an_image_has_a_seed_of_its_own(spec: JobSpec) -> None:
    assert [payload(image).seed for image in _images(sampler_job(spec), maps(1), 2)] == [7, 8]


def test_images_of_another_attempt_are_others(spec: JobSpec) -> None:
    assert [image.id for image in _images(sampler_job(spec), maps(1), 2)] == ["job/2/0", "job/2/1"]


def test_only_images_that_are_asked_for_are_made_each_with_its_own_seed_and_map(spec: JobSpec) -> None:
    (image,) = _images(replace(sampler_job(spec), images=(1,)), maps(2), 2)
    assert (image.id, payload(image).seed) == ("job/2/1", 8)
    assert payload(image).controls[0].hint.max().item() == pytest.approx(0.2)


def test_a_hint_is_the_map_in_0_to_1(spec: JobSpec) -> None:
    control_map = np.zeros((192, 256, 3), np.uint8)
    control_map[5, 9] = 255, 51, 0
    hint = payload(_images(sampler_job(spec), [[control_map]], 2)[0]).controls[0].hint
    assert hint.shape == (3, 192, 256)
    assert hint[:, 5, 9].tolist() == pytest.approx([1.0, 0.2, 0.0])


def test_one_map_is_shared_by_all_images(spec: JobSpec) -> None:
    first, second = (payload(image).controls[0].hint for image in _images(sampler_job(spec), maps(1), 2))
    assert first is second


def test_as_many_maps_as_images_are_dealt_out(spec: JobSpec) -> None:
    hints = [payload(image).controls[0].hint for image in _images(sampler_job(spec), maps(2), 2)]
    assert [hint.max().item() for hint in hints] == pytest.approx([0.0, 0.2])


def test_what_a_control_is_told_reaches_the_pipeline(spec: JobSpec) -> None:
    control = replace(spec.controls[0], strength=0.5, start=0.1, end=0.9, mode="guess")
    made = payload(_images(sampler_job(replace(spec, controls=(control,))), maps(1), 2)[0]).controls[0]
    assert (made.strength, made.start, made.end, made.guess) == (0.5, 0.1, 0.9, True)


@pytest.mark.parametrize(("deterministic", "pinned"), [(False, None), (True, 2)])
def test_a_deterministic_image_has_a_batch_shape_of_its_own(
    spec: JobSpec, deterministic: bool, pinned: int | None
) -> None:
    (image, _) = _images(sampler_job(replace(spec, deterministic=deterministic)), maps(1), 2)
    assert image.key == replace(KEY, pinned=pinned)


@pytest.mark.parametrize(("guidance", "rows"), [(7.5, 2), (1.0, 1)])
def test_without_guidance_an_image_is_one_row(spec: JobSpec, guidance: float, rows: int) -> None:
    assert _images(sampler_job(replace(spec, guidance=guidance)), maps(1), 2)[0].rows == rows


@pytest.fixture
async def engine() -> Engine:
    return Engine()


class Model:
    """Previews of one colour for images that have had a step."""

    def __init__(self) -> None:
        self.stepped: dict[str, int] = {}
        self.error: Exception | None = None

    def preview(self, image_id: str, side: int) -> np.ndarray | None:
        if self.error is not None:
            raise self.error
        level = self.stepped.get(image_id)
        return None if level is None else np.full((side, side, 3), (level, 0, 0), np.uint8)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def sampler(engine: Engine, metrics: Metrics, model: Model, tmp_path: Path) -> Sampler:
    """One that holds the bundle. Its constructor starts engine and metrics and asks Ray who it is."""
    sampler: Sampler = object.__new__(Sampler)
    sampler._tracing = Tracing("sampler", None)
    sampler._settings = Settings(data_dir=tmp_path, previews=16)
    sampler._device = torch.device("cpu")
    sampler._shelf = {"sha256:aa": SimpleNamespace(architecture=SD15, warnings=lambda spec: [ONE_STEP])}
    sampler._engine, sampler._metrics, sampler._model = engine, metrics, model
    sampler._name, sampler._learner, sampler._learning = "replica-1", PaceLearner(16), threading.Lock()
    return sampler


@pytest.fixture
async def stream(sampler: Sampler, spec: JobSpec) -> AsyncIterator[AsyncIterator[Progress | Sampled]]:
    """A running `generate`."""
    stream = sampler.generate(sampler_job(spec), Maps(maps(1), 0.1))
    yield stream
    await stream.aclose()


async def test_an_image_says_what_its_steps_cost(
    engine: Engine, stream: AsyncIterator[Progress | Sampled], spec: JobSpec
) -> None:
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    waiting.cancel()
    price = cost(spec, SD15).step_gflop / 2
    assert price > 0
    assert [image.gflop for image, _ in engine.submitted.values()] == pytest.approx([price, price])


async def test_a_sampler_that_has_not_stepped_has_no_pace(sampler: Sampler) -> None:
    assert await sampler.pace() == ("replica-1", None)


async def test_a_sampler_learns_its_pace_from_its_steps(sampler: Sampler) -> None:
    image = Image("job/1/0", "job", KEY, 2, 20, None, gflop=4.0)
    sampler._observe(Batch(KEY, (image,), (None,), bucket=4), 0.5)  # padded to twice its work
    name, pace = await sampler.pace()
    assert (name, pace) == ("replica-1", Pace(0.0, 0.5 / 8, gflop=32.0, rows=16))


async def test_leaving_the_stream_cancels_what_is_left(
    engine: Engine, stream: AsyncIterator[Progress | Sampled]
) -> None:
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert engine.cancelled == ["job/2/0", "job/2/1"]


async def test_the_call_lasts_while_someone_may_be_reading_its_pictures(
    engine: Engine, stream: AsyncIterator[Progress | Sampled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.ray, "put", lambda picture: picture)
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    for image, listener in engine.submitted.values():
        listener.started(image)
        listener.finished(image, object())
    made = [await waiting, await anext(stream)]
    assert [event.index for event in made if isinstance(event, Sampled)] == [0, 1]
    ending = asyncio.ensure_future(anext(stream))
    await asyncio.wait({ending}, timeout=0.1)
    assert not ending.done()
    ending.cancel()
    await asyncio.wait({ending})
    assert ending.cancelled()


async def test_a_picture_says_which_of_the_jobs_it_is(
    sampler: Sampler, engine: Engine, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.ray, "put", lambda picture: picture)
    stream = sampler.generate(replace(sampler_job(spec), images=(1,)), Maps(maps(1), 0.1))
    waiting = asyncio.ensure_future(anext(stream))
    while not engine.submitted:
        await asyncio.sleep(0)
    ((image, listener),) = engine.submitted.values()
    listener.finished(image, object())
    event = await waiting
    assert isinstance(event, Sampled)
    assert event.index == 1
    await stream.aclose()


async def test_an_image_that_fails_takes_its_job_with_it(
    engine: Engine, stream: AsyncIterator[Progress | Sampled]
) -> None:
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    image, listener = engine.submitted["job/2/1"]
    listener.failed(image, EngineDead("the engine died"))
    with pytest.raises(EngineDead):
        await waiting
    assert engine.cancelled == ["job/2/0", "job/2/1"]


async def test_a_network_that_gives_no_finite_values_fails_the_job_by_name(
    engine: Engine, stream: AsyncIterator[Progress | Sampled]
) -> None:
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    image, listener = engine.submitted["job/2/1"]
    listener.failed(image, NotFinite("UNet", torch.float16))
    with pytest.raises(JobFailed, match="The UNet gives values that are not finite"):
        await waiting


async def test_an_image_comes_with_the_warnings_of_request_and_maps(
    sampler: Sampler, engine: Engine, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.ray, "put", lambda picture: picture)
    shrunk = ResultWarning("map-shrunk", "controls.0.map", "It was shrunk.")
    stream = sampler.generate(sampler_job(spec), Maps(maps(1), 0.1, (shrunk,)))
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    image, listener = engine.submitted["job/2/0"]
    listener.finished(image, object())
    event = await waiting
    assert isinstance(event, Sampled)
    assert event.warnings == (ONE_STEP, shrunk)
    await stream.aclose()


@pytest.mark.parametrize(("setting", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_setting_decides_the_numbers_that_networks_compute_in(
    setting: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    sampler = object.__new__(Sampler)
    sampler._tracing = Tracing("sampler", None)
    sampler._settings, sampler._device = Settings(data_dir=tmp_path, dtype=setting), torch.device("cpu")
    assert sampler._load(DEMO).unet.out[2].weight.dtype is dtype


def test_a_bundle_that_does_not_run_never_gets_onto_the_shelf(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(module, "warm", fail)
    loads: list[str] = []
    sampler._metrics.loaded = lambda outcome, seconds: loads.append(outcome)  # type: ignore[method-assign]
    sampler._preparing, sampler._device = threading.Lock(), torch.device("cpu")
    sampler._shelf = Shelf(1 << 30, sampler._load)
    (tmp_path / "bundles").mkdir(exist_ok=True)
    monkeypatch.setattr(type(sampler._settings), "bundle_cache", property(lambda _: DEMO.parent))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out of memory"):
            sampler._ensure(f"sha256:{DEMO.name}", "models:/demo/3")
    assert loads == ["failed", "failed"]
    assert sampler._shelf.digests == []


async def test_a_job_of_an_engine_that_stalls_hears_of_a_death(sampler: Sampler, engine: Engine) -> None:
    """Serve stops such a replica, and a stop would cost a job that stalls every worker nothing."""
    engine.alive, engine.heartbeat_age = True, module.STALLED_AFTER + 1  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="has not finished a step for 301 s"):
        sampler.check_health()
    assert engine.given_up == ["the engine has not finished a step for 301 s"]


@pytest.mark.parametrize("lost", [True, False])
async def test_an_image_that_fails_with_its_gpu_is_a_death(
    engine: Engine,
    sampler: Sampler,
    stream: AsyncIterator[Progress | Sampled],
    monkeypatch: pytest.MonkeyPatch,
    lost: bool,
) -> None:
    def synchronize(_device: torch.device) -> None:
        if lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    sampler._device = torch.device("cuda")
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    image, listener = engine.submitted["job/2/1"]
    listener.failed(image, ValueError("it failed"))
    with pytest.raises(EngineDead if lost else ValueError):
        await waiting
    assert engine.given_up == (["the GPU has lost its context"] if lost else [])


async def test_a_trial_image_is_a_small_one_and_over_when_it_is_made(
    sampler: Sampler, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.ray, "put", lambda picture: picture)
    trying = asyncio.ensure_future(sampler.probe("sha256:aa", "models:/demo/3"))
    while not engine.submitted:
        await asyncio.sleep(0)
    ((image, listener),) = engine.submitted.values()
    assert (image.rows, image.steps, image.key) == (1, 2, Key(SD15.multiple, SD15.multiple, "sha256:aa"))
    listener.finished(image, object())
    await trying
    assert engine.cancelled == [image.id]


async def test_a_trial_image_of_the_demo_is_made(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[np.ndarray] = []
    monkeypatch.setattr(module.ray, "put", pictures.append)
    monkeypatch.setattr(module, "warm", lambda *_: None)
    sampler._shelf = Shelf(1 << 30, sampler._load)
    sampler._shelf.put("sha256:aa", DEMO)
    sampler._engine = engine = module.Engine(module.PipelineModel(sampler._shelf), module.Scheduler(), apart=False)
    engine.start()
    await sampler.probe("sha256:aa", "models:/demo/3")
    engine.stop()
    assert [picture.dtype for picture in pictures] == [np.uint8]


async def test_a_sampler_that_cannot_read_its_gpu_is_not_healthy(sampler: Sampler, engine: Engine) -> None:
    async def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    engine.alive, engine.heartbeat_age = True, 0.0  # type: ignore[attr-defined]
    sampler._showing = asyncio.create_task(asyncio.sleep(60))
    sampler.check_health()
    sampler._showing.cancel()
    sampler._showing = asyncio.create_task(lost())
    await asyncio.wait({sampler._showing})
    with pytest.raises(RuntimeError, match="cannot be read"):
        sampler.check_health()


@pytest.fixture
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_EVERY", 0.0)


async def step(engine: Engine, stream: AsyncIterator[Progress | Sampled], index: int = 0) -> Progress:
    """What is told of a step of an image."""
    waiting = asyncio.ensure_future(anext(stream))
    await engine.full.wait()
    image, listener = engine.submitted[f"job/2/{index}"]
    listener.stepped(image, 1, 20)
    progress = await waiting
    assert isinstance(progress, Progress)
    return progress


def colour(jpeg: bytes | None) -> list[int]:
    assert jpeg is not None
    return [round(level, -1) for level in np.asarray(PIL.Image.open(io.BytesIO(jpeg)))[8, 8].tolist()]


@pytest.mark.usefixtures("_often")
async def test_progress_has_a_preview_of_the_first_image_that_is_on_its_way(
    engine: Engine, model: Model, stream: AsyncIterator[Progress | Sampled]
) -> None:
    model.stepped = {"job/2/1": 200}
    assert colour((await step(engine, stream)).preview) == [200, 0, 0]


@pytest.mark.usefixtures("_often")
async def test_previews_are_seldom(engine: Engine, model: Model, stream: AsyncIterator[Progress | Sampled]) -> None:
    model.stepped = {"job/2/0": 200}
    assert [(await step(engine, stream)).preview is None for _ in range(3)] == [False, True, True]


@pytest.mark.usefixtures("_often")
async def test_without_the_setting_there_are_no_previews(
    engine: Engine, model: Model, sampler: Sampler, stream: AsyncIterator[Progress | Sampled], tmp_path: Path
) -> None:
    sampler._settings = Settings(data_dir=tmp_path)
    model.stepped = {"job/2/0": 200}
    assert (await step(engine, stream)).preview is None


@pytest.mark.usefixtures("_often")
async def test_a_preview_that_fails_is_no_failure(
    engine: Engine, model: Model, stream: AsyncIterator[Progress | Sampled]
) -> None:
    model.error = RuntimeError("out of memory")
    assert (await step(engine, stream)).preview is None


async def test_an_image_is_a_span_with_its_steps(images: list[Image], metrics: Metrics) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing("sampler", None, exporter=exporter)
    traced = Inbox(asyncio.get_running_loop(), images, metrics, tracing, TRACE)
    traced.started(images[0])
    traced.stepped(images[0], 1, 2)
    traced.stepped(images[0], 2, 2)
    traced.finished(images[0], object())
    traced.failed(images[1], ValueError("a secret"))
    tracing.close()
    first, second = exporter.get_finished_spans()
    assert [event.name for event in first.events] == ["seated", "step", "step"]
    assert second.status.description == "ValueError"
