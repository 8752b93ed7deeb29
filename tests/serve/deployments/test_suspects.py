"""What becomes of jobs whose worker died: who is proven guilty is set aside, and nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa
from ray.exceptions import RayActorError

from serve.deployments import trials
from serve.engine.core import EngineDead
from serve.jobs.schema import jobs as table
from serve.jobs.spec import JobSpec
from serve.jobs.store import Job
from tests.serve.deployments.conftest import Platform, Stream


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "PAUSE", (0.0, 0.0))


async def streams(platform: Platform, count: int) -> dict[str, Stream]:
    """The next calls, by job."""
    found = [await platform.sampler.streams.get() for _ in range(count)]
    return {stream.work.id: stream for stream in found}


def deaths(platform: Platform, job: Job) -> int:
    """Those that counted."""
    with platform.engine.connect() as connection:
        return connection.scalar(sa.select(table.c.deaths).where(table.c.id == job.id)) or 0


async def test_a_job_that_ends_its_sampler_is_set_aside_and_those_beside_it_succeed(
    platform: Platform, spec: JobSpec
) -> None:
    platform.start()
    poison, *innocent = [platform.submit(replace(spec, seeds=(seed,))) for seed in range(3)]
    died = 1
    for stream in (await streams(platform, 3)).values():
        stream.send(RayActorError())
    alone: list[str] = []
    while platform.get(poison).state != "failed":
        stream = await platform.sampler.streams.get()
        assert platform.store.counts()["running"] == 1  # nothing else meanwhile
        alone.append(stream.work.id)
        if stream.work.id == poison.id:
            died += 1
            stream.send(RayActorError())
        else:
            stream.finish()
        await platform.when(lambda stream=stream: platform.store.get(stream.work.id).state != "running")  # type: ignore[union-attr, misc]
    for job in innocent:
        assert (await platform.ended(job)).state == "succeeded"
        assert alone.count(job.id) == 1
    error = platform.get(poison).error
    assert error is not None
    assert "3 workers died while they ran this job and nothing else" in error["detail"]
    assert (died, alone.count(poison.id)) == (4, 3)
    assert platform.sampler.probe.asked == 3 * [("sha256:aa", "models:/demo/3")]


async def test_a_death_counts_nothing_where_the_trial_image_ends_the_worker_too(
    platform: Platform, spec: JobSpec
) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(RayActorError())
    for _ in range(4):
        stream = await platform.sampler.streams.get()
        platform.sampler.probe.errors.append(RayActorError())
        stream.send(RayActorError())
    (await platform.sampler.streams.get()).finish()
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt, deaths(platform, job)) == ("succeeded", 6, 0)


async def test_while_trial_images_end_workers_a_suspect_does_not_run(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(EngineDead("the engine died"))
    platform.sampler.probe.errors.extend([RayActorError(), RayActorError(), RayActorError()])
    (await platform.sampler.streams.get()).send(RayActorError())
    (await platform.sampler.streams.get()).finish()
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 5)  # of which two ended before they came to a sampler
    assert platform.sampler.streams.empty()
    assert len(platform.sampler.probe.asked) == 4


async def test_a_trial_that_fails_otherwise_keeps_no_job_from_its_own_reason(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(RayActorError())
    platform.sampler.probe.errors.extend([ValueError("the model is broken"), ValueError("it is still")])
    (await platform.sampler.streams.get()).send(RayActorError())
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"
    assert deaths(platform, job) == 0


async def test_a_map_that_ends_imaging_is_tried_on_imaging_alone(platform: Platform, spec: JobSpec) -> None:
    platform.imaging.map_errors.extend([RayActorError() for _ in range(4)])
    platform.start()
    job = await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))
    assert (job.state, job.attempt) == ("failed", 4)
    assert (len(platform.imaging.probe.asked), platform.sampler.probe.asked) == (3, [])


async def test_a_suspect_waits_for_what_runs_and_the_others_wait_for_it(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    first, suspect = (platform.submit(spec) for _ in range(2))
    going = await streams(platform, 2)
    going[suspect.id].send(RayActorError())
    while not platform.started[0]._suspects:
        await asyncio.sleep(0)
    third = platform.submit(spec)
    for _ in range(3):  # looks, at which it is seen
        assert await platform.started[0]._suspects_have_it(sampled=True)
    assert (platform.get(suspect).state, platform.sampler.streams.empty()) == ("queued", True)
    going[first.id].finish()
    alone = await platform.sampler.streams.get()
    assert (alone.work.id, platform.get(third).state) == (suspect.id, "queued")
    alone.finish()
    after = await platform.sampler.streams.get()
    assert after.work.id == third.id


async def test_a_suspect_can_be_cancelled_while_a_trial_image_is_made(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying = asyncio.Event()

    async def remote(*about: str) -> None:
        trying.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(platform.sampler.probe, "remote", remote)
    platform.start()
    job = platform.submit(spec)
    for _ in range(2):
        (await platform.sampler.streams.get()).send(RayActorError())
    await trying.wait()
    platform.store.request_cancel(job.id, "acme")
    assert (await platform.ended(job)).state == "cancelled"
