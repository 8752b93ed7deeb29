"""What is written while a job is made."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest
from ray.exceptions import RayTaskError, ReferenceCountingAssertionError

from controlnet.warnings import ResultWarning
from serve.deployments import dispatcher as module
from serve.deployments.messages import Progress, Sampled
from serve.engine.core import EngineClosed
from serve.jobs.spec import JobSpec
from serve.jobs.store import Job, StoredImage
from tests.serve.deployments.conftest import Platform, Stream


async def test_steps_go_on_while_the_store_is_slow(platform: Platform, spec: JobSpec) -> None:
    dispatcher = platform.start()
    progress = dispatcher._store.progress
    asked, allowed = asyncio.Event(), asyncio.Event()
    ask = dispatcher._progress._ask

    async def slow(call: object, *arguments: object) -> object:
        if call == progress:
            asked.set()
            await allowed.wait()
        return await ask(call, *arguments)  # type: ignore[arg-type]

    dispatcher._progress._ask = slow  # type: ignore[assignment]
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    stream.send(Progress((1, 1), 20))
    await asked.wait()
    stream.send(Sampled(0, picture=object(), seconds=1.0))
    await platform.when(lambda: "image" in platform.kinds(job))
    allowed.set()
    stream.send(Sampled(1, picture=object(), seconds=1.0), StopAsyncIteration())
    assert (await platform.ended(job)).state == "succeeded"


async def test_a_single_image_is_told_with_the_end(platform: Platform, spec: JobSpec) -> None:
    told = []
    dispatcher = platform.start()
    dispatcher._store.image_done = lambda *_: told.append("apart")  # type: ignore[method-assign, assignment]
    job = platform.submit(replace(spec, seeds=(7,)))
    (await platform.sampler.streams.get()).finish()
    await platform.ended(job)
    assert platform.kinds(job)[-2:] == ["image", "succeeded"]
    assert not told


async def test_warnings_are_in_the_result_and_in_the_file(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    warning = ResultWarning("prompt-cut", "prompt", "It was cut.")
    job = platform.submit(replace(spec, seeds=(7,)))
    (await platform.sampler.streams.get()).send(Sampled(0, picture=object(), seconds=1.0, warnings=(warning,)))
    result = (await platform.ended(job)).result
    assert result is not None
    assert result.warnings == (warning,)
    assert platform.imaging.parameters[0]["warnings"] == [asdict(warning)]


async def test_a_map_for_its_own_sake_has_the_warnings_of_imaging(platform: Platform, spec: JobSpec) -> None:
    warning = ResultWarning("map-one-tone", "image", "It has one tone.")
    platform.imaging.warnings = (warning,)
    platform.start()
    result = (await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))).result
    assert result is not None
    assert result.warnings == (warning,)


async def test_a_sampler_does_not_wait_until_maps_are_stored(platform: Platform, spec: JobSpec) -> None:
    stored = platform.imaging.hold_maps()
    platform.start()
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    stream.finish()
    await platform.when(lambda: "image" in platform.kinds(job))
    assert platform.get(job).state == "running"
    stored.set()
    assert (await platform.ended(job)).state == "succeeded"
    assert [stream.maps] == platform.imaging.annotated


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_maps_go_along_with_a_picture_that_is_compared(platform: Platform, spec: JobSpec, share: float) -> None:
    platform.start(adherence_share=share)
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    await platform.ended(job)
    assert platform.imaging.seen == (2 * platform.imaging.annotated if share else [None, None])


@pytest.fixture
async def second(platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch) -> tuple[Job, Stream]:
    """A job whose first attempt told of image 0 and was stopped, and the sampler's call of its second."""
    monkeypatch.setattr(module, "RETRY_PAUSE", (0.0, 0.0))
    platform.start()
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    stream.send(Sampled(0, picture=object(), seconds=1.0))
    await platform.when(lambda: "image" in platform.kinds(job))
    stream.send(EngineClosed("it was stopped"))
    platform.imaging.suffix = "-again.png"  # other bytes have another key
    return job, await platform.sampler.streams.get()


async def test_what_an_earlier_attempt_told_of_is_the_results(platform: Platform, second: tuple[Job, Stream]) -> None:
    job, again = second
    again.finish()
    result = (await platform.ended(job)).result
    assert result is not None
    assert [image.key for image in result.images] == ["acme/7.png", "acme/8-again.png"]
    told = [event.data for event in platform.store.events(job.id) if event.kind == "image"]
    assert told == [{"index": i, "image": asdict(image)} for i, image in enumerate(result.images)]


async def test_what_an_earlier_attempt_told_of_is_not_sampled_again(second: tuple[Job, Stream], spec: JobSpec) -> None:
    _, again = second
    assert (again.work.spec, again.work.images, again.work.fence) == (spec, (1,), 2)


async def test_what_an_earlier_attempt_told_of_has_done_its_steps(
    platform: Platform, second: tuple[Job, Stream]
) -> None:
    job, again = second
    again.send(Progress((3,), 20))
    await platform.when(lambda: platform.get(job).progress == {"steps": [20, 3], "of": 20})


async def test_a_job_of_several_attempts_is_counted_once_with_all_its_images(
    platform: Platform, second: tuple[Job, Stream]
) -> None:
    job, again = second
    again.finish()
    await platform.ended(job)
    (used,) = platform.store.usage.between("acme", 0.0, 1e12)
    assert (used.jobs, used.images, used.gflop) == (1, 2, 1.0)


async def test_a_job_whose_images_were_all_told_of_needs_no_sampler(platform: Platform, spec: JobSpec) -> None:
    """Version 0.1 makes told ones again, and may stop after the others."""
    job = platform.submit(spec)
    (lease,) = platform.store.claim("0.1", 30.0, 4)
    images = tuple(StoredImage(f"acme/{seed}.png", seed, 256, 192) for seed in spec.seeds)
    for index, image in enumerate(images):
        platform.store.image_done(lease, index, image)
    platform.store.give_back([lease], "It was stopped.")
    platform.start()
    result = (await platform.ended(job)).result
    assert result is not None
    assert (result.images, platform.sampler.streams.empty()) == (images, True)


async def test_pictures_that_ray_dropped_are_made_again_at_no_charge(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does when artifacts were away for longer than a sampler holds them; more often than a job may fail."""
    monkeypatch.setattr(module, "RETRY_PAUSE", (0.0, 0.0))
    dropped = RayTaskError("publish", "its traceback", ReferenceCountingAssertionError("aa", b"", ""))
    platform.imaging.publish_errors.extend(4 * [dropped.as_instanceof_cause()])
    platform.start()
    job = platform.submit(replace(spec, seeds=(7,)))
    for _ in range(5):
        (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"
    assert platform.sampler.probe.asked == []  # nor is it suspect
