"""What becomes of a job's row, whatever its replicas, its owner and other dispatchers do."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError

from serve.deployments import chores, demand, fleet
from serve.deployments import dispatcher as module
from serve.deployments.messages import Progress, Sampled
from serve.deployments.publication import png_parameters
from serve.engine.core import EngineClosed
from serve.errors import InvalidRequest, JobFailed
from serve.jobs.cost import Cost
from serve.jobs.database import StoreUnavailable, durable
from serve.jobs.pace import Pace
from serve.jobs.schema import jobs as table
from serve.jobs.spec import JobSpec
from serve.jobs.store import READY, JobStore, Lease, ModelVersion, ServedModel
from serve.registry.reconciler import RECONCILER
from serve.registry.registry import NotRegistered, RegistryUnreachable, VersionRefused
from serve.telemetry import Tracing
from tests.serve.deployments.conftest import MAPS, Platform

SERVED = ServedModel("demo", "3", "sha256:aa", {}, "models:/demo/3")


def wrapped(error: Exception) -> Exception:
    """As the awaiting caller of a replica gets it."""
    wrapping: Exception = RayTaskError("store_maps", "its traceback", error).as_instanceof_cause()
    return wrapping


def steal(platform: Platform) -> tuple[JobStore, Lease]:
    """Take a running job over, as another dispatcher does when its lease has run out."""
    thief = JobStore(platform.engine, clock=lambda: time.time() + 3600)
    (lease,) = thief.claim("thief", 3600, 1)
    return thief, lease


async def test_a_job_succeeds_with_its_images_in_the_order_of_the_seeds(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    result = (await platform.ended(job)).result
    assert result is not None
    assert [(image.seed, image.key) for image in result.images] == [(7, "acme/7.png"), (8, "acme/8.png")]


async def test_maps_are_stored_apart_from_images(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    result = (await platform.ended(job)).result
    assert result is not None
    assert result.control_maps == MAPS


async def test_a_result_says_where_the_time_went(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    result = (await platform.ended(job)).result
    assert result is not None
    assert result.timings.keys() == {"queued", "preparing", "sampling", "publishing", "total"}
    assert result.timings["preparing"] == 0.5
    assert all(seconds >= 0 for seconds in result.timings.values())


async def test_every_image_is_an_event(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    await platform.when(lambda: "annotated" in platform.kinds(job))  # maps and images are stored side by side
    stream.finish()
    await platform.ended(job)
    assert platform.kinds(job) == ["queued", "started", "annotated", "image", "image", "succeeded"]
    assert {event.data["index"] for event in platform.store.events(job.id) if event.kind == "image"} == {0, 1}


async def test_maps_are_told_while_the_sampler_works(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    await platform.sampler.streams.get()
    await platform.when(lambda: "annotated" in platform.kinds(job))
    told = platform.store.events(job.id)[-1]
    assert (told.kind, told.data) == ("annotated", {"control_maps": [asdict(control_map) for control_map in MAPS]})


async def test_a_job_without_controls_has_no_maps_to_tell(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(replace(spec, controls=()))
    stream = await platform.sampler.streams.get()
    stream.finish()
    await platform.ended(job)
    assert "annotated" not in platform.kinds(job)
    assert (stream.maps, platform.imaging.annotated) == (None, [])


async def test_a_job_without_images_ends_with_its_maps(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))
    assert (job.state, platform.kinds(job)) == ("succeeded", ["queued", "started", "annotated", "succeeded"])
    assert job.result is not None
    assert (job.result.images, job.result.control_maps) == ((), MAPS)


async def test_a_job_without_images_sees_no_sampler(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))
    assert platform.sampler.streams.empty()


async def test_progress_is_shown_in_the_row(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(Progress((3, 2), 20))
    await platform.when(lambda: platform.get(job).progress == {"steps": [3, 2], "of": 20})


async def test_the_latest_preview_stays_in_the_row(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(Progress((3, 2), 20, b"jpeg"), Progress((4, 2), 20))
    preview = "data:image/jpeg;base64,anBlZw=="
    await platform.when(lambda: platform.get(job).progress == {"steps": [4, 2], "of": 20, "preview": preview})


async def test_the_sampler_gets_what_the_job_is_pinned_to(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    platform.submit(spec)
    work = (await platform.sampler.streams.get()).work
    assert (work.digest, work.source, work.fence) == ("sha256:aa", "models:/demo/3", 1)


async def test_a_fault_of_the_request_fails_the_job_with_its_problem(platform: Platform, spec: JobSpec) -> None:
    error = InvalidRequest("This is no picture.", field="controls.0.image")
    platform.imaging.map_errors.append(wrapped(error))
    platform.start()
    job = await platform.ended(platform.submit(spec))
    assert (job.state, job.error) == ("failed", error.problem())


async def test_a_fault_of_a_request_for_a_map_fails_the_job_with_its_problem(platform: Platform, spec: JobSpec) -> None:
    error = InvalidRequest("This is no picture.", field="image")
    platform.imaging.map_errors.append(wrapped(error))
    platform.start()
    job = await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))
    assert (job.state, job.error) == ("failed", error.problem())


async def test_a_fault_of_the_request_is_not_tried_again(platform: Platform, spec: JobSpec) -> None:
    platform.imaging.map_errors.append(wrapped(InvalidRequest("This is no picture.")))
    platform.start()
    assert (await platform.ended(platform.submit(spec))).attempt == 1


async def test_a_fault_of_the_model_is_told_and_not_tried_again(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    error = JobFailed("The UNet gives values that are not finite (NaN or infinity) in float16.")
    (await platform.sampler.streams.get()).send(wrapped(error))
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt, ended.error) == ("failed", 1, error.problem())


async def test_a_job_survives_the_crash_of_a_sampler(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    first = await platform.sampler.streams.get()
    first.send(RayActorError())
    second = await platform.sampler.streams.get()
    second.finish()
    assert (await platform.ended(job)).state == "succeeded"
    assert (second.work.fence, second.work.spec) == (2, first.work.spec)


async def test_a_job_survives_the_crash_of_imaging_while_it_publishes(platform: Platform, spec: JobSpec) -> None:
    platform.imaging.publish_errors.extend([RayActorError(), RayActorError()])
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).attempt == 2


async def test_a_call_that_a_replica_cancelled_is_tried_again(platform: Platform, spec: JobSpec) -> None:
    """Serve turns the TaskCancelledError of a replica that is stopped into a CancelledError of the caller."""
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(asyncio.CancelledError())
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"


@pytest.mark.parametrize("error", [StoreUnavailable("full", retry_after_s=1), RegistryUnreachable("away")])
async def test_what_is_away_costs_a_job_no_attempt(platform: Platform, spec: JobSpec, error: Exception) -> None:
    platform.start()
    job = platform.submit(spec)
    for _ in range(3):
        (await platform.sampler.streams.get()).send(wrapped(error))
    (await platform.sampler.streams.get()).finish()
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 1)


async def test_a_picture_that_could_not_be_stored_is_not_sampled_again(platform: Platform, spec: JobSpec) -> None:
    away = StoreUnavailable("full", retry_after_s=1)
    platform.imaging.publish_errors.extend([wrapped(away), wrapped(away)])
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"
    assert platform.sampler.streams.empty()


def test_what_tells_of_an_outage_crosses_processes() -> None:
    for error in (StoreUnavailable("full", retry_after_s=1), RegistryUnreachable("away")):
        assert type(pickle.loads(pickle.dumps(error))) is type(error)


async def test_a_job_that_ends_early_withdraws_its_maps(platform: Platform, spec: JobSpec) -> None:
    platform.imaging.hold_maps()
    platform.start()
    job = platform.submit(spec)
    await platform.sampler.streams.get()
    platform.store.request_cancel(job.id, "acme")
    assert (await platform.ended(job)).state == "cancelled"
    assert [maps.cancelled for maps in platform.imaging.annotated] == [True]


async def test_a_job_is_cancelled_between_two_attempts(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE", (60.0, 60.0))
    failed = asyncio.Event()
    monkeypatch.setattr(module.log, "exception", lambda *_, **__: failed.set())
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(wrapped(ValueError()))
    await failed.wait()
    platform.store.request_cancel(job.id, "acme")
    assert (await platform.ended(job)).state == "cancelled"


async def test_a_job_that_used_its_attempts_up_is_set_aside(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    for _ in range(3):
        (await platform.sampler.streams.get()).send(wrapped(ValueError()))
    ended = await platform.ended(job)
    assert ended.error is not None
    assert (ended.state, ended.attempt, ended.error["type"]) == ("failed", 3, "job-failed")
    assert ended.error["detail"] == "The images could not be made: the platform met an error (ValueError)."


async def test_what_failed_here_says_nothing_of_our_insides(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    for _ in range(3):
        (await platform.sampler.streams.get()).send(wrapped(ValueError("secret")))
    assert "secret" not in json.dumps((await platform.ended(job)).error)


async def test_a_job_that_is_sampled_can_be_cancelled(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    platform.store.request_cancel(job.id, "acme")
    assert (await platform.ended(job)).state == "cancelled"
    assert stream.cancelled.is_set()


async def test_a_job_is_cancelled_once_however_often_it_is_seen(platform: Platform, spec: JobSpec) -> None:
    dispatcher = platform.start()
    job = platform.submit(spec)
    await platform.sampler.streams.get()
    platform.store.request_cancel(job.id, "acme")
    (task,) = dispatcher._running
    for _ in range(2):
        await dispatcher._cancel_what_was_asked()
    assert task.cancelling() == 1


async def test_a_lost_lease_writes_nothing(platform: Platform, spec: JobSpec) -> None:
    platform.start(lease=1.5)  # it looks at its leases four times as often
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    steal(platform)
    stolen, events = platform.get(job), platform.kinds(job)
    stream.send(Progress((3, 2), 20))
    await stream.cancelled.wait()
    assert (platform.get(job), platform.kinds(job)) == (stolen, events)


async def test_a_task_whose_lease_is_lost_ends(platform: Platform, spec: JobSpec) -> None:
    dispatcher = platform.start(lease=1.5)
    platform.submit(spec)
    stream = await platform.sampler.streams.get()
    (task,) = dispatcher._running
    steal(platform)
    await asyncio.wait({task})
    assert stream.cancelled.is_set()


async def test_a_job_that_comes_back_is_kept_when_its_first_task_ends(platform: Platform, spec: JobSpec) -> None:
    dispatcher = platform.start()
    job = platform.submit(spec)
    first = await platform.sampler.streams.get()
    (stale,) = dispatcher._running
    thief, lease = steal(platform)
    thief.retry(lease, {})
    await platform.when(lambda: platform.get(job).attempt == 3)
    second = await platform.sampler.streams.get()
    first.send(Sampled(0, picture=object(), seconds=1.0))
    await asyncio.wait({stale})
    platform.store.request_cancel(job.id, "acme")
    await second.cancelled.wait()


async def test_a_dispatcher_that_ends_gives_its_jobs_back_at_no_charge(platform: Platform, spec: JobSpec) -> None:
    job = platform.submit(spec)
    for _ in range(4):
        dispatcher = platform.start()
        stream = await platform.sampler.streams.get()
        await platform.end(dispatcher)
        assert stream.cancelled.is_set()
        assert platform.get(job).state == "queued"
    platform.start()
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"


async def test_what_stops_around_a_job_costs_no_attempt(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE", (0.0, 0.0))
    platform.start()
    job = platform.submit(spec)
    for error in (
        asyncio.CancelledError(),
        EngineClosed("it was stopped"),
        NodeDiedError("spot"),
        ObjectLostError("", "", ""),
    ):
        (await platform.sampler.streams.get()).send(error)
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"
    assert platform.sampler.probe.asked == []  # nor is it suspect


@pytest.mark.parametrize("engine", ["database", "postgres_database"], indirect=True)
@pytest.mark.parametrize(("dispatchers", "outage"), [(1, math.inf), (2, 0.0)])
async def test_an_outage_longer_than_a_lease_costs_no_attempt(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch, dispatchers: int, outage: float
) -> None:
    """All leases have run out when the store is back, and each dispatcher has reason to claim before it renews."""
    monkeypatch.setattr(module, "STORE_RETRY", (0.001, 0.001))
    monkeypatch.setattr(module, "OUTAGE", outage)
    away: list[bool] = []
    refused: set[JobStore] = set()

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(store: JobStore, *arguments: object) -> object:
            if away:
                refused.add(store)
                raise StoreUnavailable("away")
            return call(store, *arguments)

        return refuse

    for name in ("claim", "claim_unknown", "cancel_requests"):
        monkeypatch.setattr(JobStore, name, refusing(getattr(JobStore, name)))
    jobs, streams = [], []
    for _ in range(dispatchers):
        platform.start(rows_in_flight=4)
        jobs.append(platform.submit(spec))
        streams.append(await platform.sampler.streams.get())
    for dispatcher in platform.started:
        dispatcher._settings = dispatcher._settings.model_copy(update={"rows_in_flight": 16})
    away.append(True)
    while len(refused) < dispatchers:
        await asyncio.sleep(0)
    # Renewed first, they would not be found: what is tested is a claim that comes before.
    monkeypatch.setattr(JobStore, "renew", lambda *_: [])
    with durable(platform.engine).begin() as connection:
        connection.execute(sa.update(table).values(lease_until=0.0))
    for _ in range(dispatchers):
        jobs.append(platform.submit(spec))
    away.clear()
    streams += [await platform.sampler.streams.get() for _ in range(dispatchers)]
    for stream in streams:
        stream.finish()
    for job in jobs:
        ended = await platform.ended(job)
        assert (ended.state, ended.attempt) == ("succeeded", 1)


async def test_after_an_outage_what_runs_is_renewed_before_anything_is_claimed(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_RETRY", (0.001, 0.001))
    calls: list[str] = []
    refusals: list[bool] = []

    def noting(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def note(store: JobStore, *arguments: object) -> object:
            if name == "claim" and refusals:
                refusals.pop()
                raise StoreUnavailable("away")
            calls.append(name)
            return call(store, *arguments)

        return note

    platform.start()
    platform.submit(spec)
    stream = await platform.sampler.streams.get()
    for name in ("claim", "renew"):
        monkeypatch.setattr(JobStore, name, noting(name, getattr(JobStore, name)))
    refusals.append(True)
    platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    stream.finish()
    assert "renew" in calls[: calls.index("claim")]


async def test_a_claim_whose_answer_was_lost_is_worked_on(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORE_RETRY", (0.001, 0.001))
    claim, lost = JobStore.claim, []

    def losing(store: JobStore, *arguments: Any, **named: Any) -> list[Lease]:
        leases = claim(store, *arguments, **named)
        if leases and not lost:
            lost.extend(leases)
            raise StoreUnavailable("the connection broke")
        return leases

    monkeypatch.setattr(JobStore, "claim", losing)
    job = platform.submit(spec)
    platform.start()
    (await platform.sampler.streams.get()).finish()
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 1)
    assert lost


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NotRegistered("MLflow has no such thing"), "is not in the model registry any more"),
        (VersionRefused("models:/demo/3 has the digest X, not Y."), "models:/demo/3 has the digest X, not Y."),
    ],
)
async def test_a_version_that_is_gone_for_good_ends_its_job_at_once(
    platform: Platform, spec: JobSpec, error: Exception, told: str
) -> None:
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).send(wrapped(error))
    ended = await platform.ended(job)
    assert ended.error is not None
    assert (ended.state, ended.attempt) == ("failed", 1)
    assert ended.error["detail"].startswith("Version 3 of demo, which the job was accepted for, ")
    assert told in ended.error["detail"]


async def test_maps_that_could_not_be_stored_cost_no_sampling(platform: Platform, spec: JobSpec) -> None:
    away = StoreUnavailable("full", retry_after_s=1)
    platform.imaging.map_errors.extend([wrapped(away), wrapped(away)])
    platform.start()
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).state == "succeeded"
    assert platform.sampler.streams.empty()
    told = [event.data["index"] for event in platform.store.events(job.id) if event.kind == "image"]
    assert sorted(told) == [0, 1]


async def test_a_map_whose_picture_was_away_is_made_again(platform: Platform, spec: JobSpec) -> None:
    platform.imaging.map_errors.append(wrapped(StoreUnavailable("away", retry_after_s=1)))
    platform.start()
    job = await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))
    assert (job.state, job.attempt, len(platform.imaging.annotated)) == ("succeeded", 1, 2)


async def test_a_dispatcher_that_ends_gives_its_locks_back(platform: Platform) -> None:
    platform.reconciler.warm = True
    dispatcher = platform.start()
    await platform.when(lambda: platform.store.locked(READY) and platform.store.locked(RECONCILER))
    await platform.end(dispatcher)
    assert not platform.store.locked(READY)
    assert not platform.store.locked(RECONCILER)


async def test_how_far_the_champion_is_served_is_told_until_the_dispatcher_ends(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "LOOK_EVERY_S", 0.01)
    dispatcher = platform.start()
    await platform.when(lambda: platform.store.rollouts.current() == (platform.reconciler.rollout,))
    platform.reconciler.fault = "prepare"
    await platform.when(lambda: platform.store.rollouts.current() == (platform.reconciler.rollout,))
    await platform.end(dispatcher)
    assert platform.store.rollouts.current() == ()


@pytest.fixture
def ticking(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set once a tick of the reconciler has begun, which does not end."""
    monkeypatch.setattr(chores, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(chores, "TELL_EVERY_S", 0.0)
    begun = asyncio.Event()

    async def tick() -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(platform.reconciler, "tick", tick)
    return begun


async def test_a_tick_that_takes_long_keeps_the_reconcilers_lock(platform: Platform, ticking: asyncio.Event) -> None:
    dispatcher = platform.start()
    await ticking.wait()
    assert platform.store.take_lock(RECONCILER, dispatcher._owner, 0)  # it has run out meanwhile
    await platform.when(lambda: platform.store.locked(RECONCILER))


async def test_a_tick_does_not_take_back_a_lock_that_was_anothers(platform: Platform, ticking: asyncio.Event) -> None:
    """It may be about to serve what the registry wanted before that."""
    dispatcher = platform.start()
    await ticking.wait()
    while not platform.store.take_lock(RECONCILER, "another", 60):
        platform.store.take_lock(RECONCILER, dispatcher._owner, 0)
    assert platform.store.take_lock(RECONCILER, "another", 0)
    while dispatcher._chores._reconciling and not platform.store.locked(RECONCILER):
        await asyncio.sleep(0.001)
    assert not platform.store.locked(RECONCILER)


async def test_a_tick_that_takes_long_leaves_the_lock_to_a_later_cluster(
    platform: Platform, ticking: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    platform.store.clusters.join(platform.session)
    platform.start()
    await ticking.wait()
    platform.store.clusters.show(platform.session + "2", 3600)
    await platform.when(lambda: not platform.store.locked(RECONCILER))


async def test_no_more_rows_are_claimed_than_may_be_in_flight(platform: Platform, spec: JobSpec) -> None:
    jobs = [platform.submit(spec) for _ in range(3)]
    dispatcher = platform.start(rows_in_flight=8)  # four each
    streams = [await platform.sampler.streams.get() for _ in range(2)]
    assert len(dispatcher._running) == 2
    assert [platform.get(job).state for job in jobs] == ["running", "running", "queued"]
    streams[0].finish()
    await platform.reached(jobs[2], "running")


async def test_a_job_whose_pictures_are_being_stored_takes_no_seats(platform: Platform, spec: JobSpec) -> None:
    platform.start(rows_in_flight=4)
    jobs = [platform.submit(spec) for _ in range(2)]
    stored = platform.imaging.hold_publishing()
    (await platform.sampler.streams.get()).finish()
    await platform.reached(jobs[1], "running")
    assert platform.get(jobs[0]).state == "running"
    stored.set()
    assert (await platform.ended(jobs[0])).state == "succeeded"


async def test_the_samplers_call_lasts_until_its_pictures_are_stored(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    stored = platform.imaging.hold_publishing()
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    stream.finish()
    while len(platform.imaging.steered) < 2:  # both are being stored
        await asyncio.sleep(0)
    assert not stream.cancelled.is_set()
    stored.set()
    await stream.cancelled.wait()
    assert (await platform.ended(job)).state == "succeeded"


async def test_a_job_that_waits_past_its_deadline_is_ended_while_there_is_no_room(
    platform: Platform, spec: JobSpec
) -> None:
    platform.start(rows_in_flight=4)
    platform.submit(spec)
    await platform.sampler.streams.get()
    job = platform.store.submit("acme", spec, ModelVersion("demo", "3", "sha256:aa"), deadline_s=1e-9)
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt) == ("failed", 0)
    assert ended.error is not None
    assert ended.error["type"] == "deadline-missed"


async def test_while_no_sampler_runs_a_job_waits_in_its_order(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    platform.sampler.running = []
    platform.start()
    job = platform.submit(spec)
    await platform.ended(platform.submit(replace(spec, seeds=(), steps=0)))  # it came later and needs none
    assert platform.get(job).state == "queued"
    platform.sampler.running = [("first", None)]
    (await platform.sampler.streams.get()).finish()
    assert (await platform.ended(job)).attempt == 1


async def test_a_job_that_waits_for_a_sampler_past_its_deadline_is_ended(platform: Platform, spec: JobSpec) -> None:
    platform.sampler.running = []
    platform.start()
    priced = Cost(4, 1.0, spec.steps, 0.1)
    model = ModelVersion("demo", "3", "sha256:aa")
    ended = await platform.ended(platform.store.submit("acme", spec, model, cost=priced, deadline_s=1e-9))
    assert (ended.state, ended.attempt) == ("failed", 0)


async def test_no_more_is_claimed_than_the_samplers_that_run_hold(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    jobs = [platform.submit(spec) for _ in range(10)]  # four rows each
    dispatcher = platform.start(rows_in_flight=None)
    for _ in range(5):  # 16 rows, and two more
        await platform.sampler.streams.get()
    assert len(dispatcher._running) == 5
    platform.sampler.running = [("first", None), ("second", None)]
    for _ in range(4):
        await platform.sampler.streams.get()
    assert [platform.get(job).state for job in jobs].count("queued") == 1


async def test_where_a_later_cluster_has_a_sampler_nothing_more_is_claimed_until_it_is_gone(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    platform.start()
    mine = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    later = platform.session + "2"
    platform.store.clusters.show(later, 3600)
    await platform.when(lambda: platform.started[0]._fleet.followed)
    job = platform.submit(spec)
    stream.finish()  # what it has, it ends
    assert (await platform.ended(mine)).state == "succeeded"
    assert platform.get(job).state == "queued"
    platform.store.clusters.show(later, 0)
    await platform.sampler.streams.get()
    assert platform.get(job).state == "running"


async def test_of_two_clusters_with_samplers_the_later_one_claims(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    platform.store.clusters.join(platform.session)
    earlier = platform.start()
    platform.session += "2"
    later = platform.start()
    await platform.when(lambda: earlier._fleet.followed)
    for _ in range(3):
        job = platform.submit(spec)
        stream = await platform.sampler.streams.get()
        assert (len(earlier._running), len(later._running) > 0) == (0, True)
        stream.finish()
        assert (await platform.ended(job)).state == "succeeded"


async def test_a_dispatcher_that_is_followed_leaves_the_registry_to_the_later_cluster(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    platform.reconciler.warm = True
    platform.store.clusters.join(platform.session)
    dispatcher = platform.start()
    await platform.when(lambda: platform.store.locked(READY) and platform.store.locked(RECONCILER))
    platform.store.clusters.show(platform.session + "2", 3600)
    await platform.when(lambda: not platform.store.locked(RECONCILER))
    assert platform.store.take_lock(RECONCILER, "the later one's", 60)
    await platform.end(dispatcher)
    assert platform.store.locked(READY)  # the later one has taken it up, and was not interrupted


async def test_serve_is_told_what_the_store_holds(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "LOOK_EVERY", 0.01)
    platform.sampler.running = []
    dispatcher = platform.start()
    platform.submit(spec)
    while not (await dispatcher.record_autoscaling_stats()).get("samplers"):
        await asyncio.sleep(0)
    assert await dispatcher.record_autoscaling_stats() == {"samplers": 1, "maps": 0}


async def test_the_samplers_paces_are_kept(platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "LOOK_EVERY", 0.01)
    pace = Pace(0.25, 0.5, 8.0, 16)
    platform.sampler.paces.extend([RayActorError(), [("one", pace), ("new", None)]])
    platform.start()
    await platform.when(lambda: platform.store.paces.current() == [pace])


async def test_readiness_is_told_when_samplers_are_warm(platform: Platform) -> None:
    platform.reconciler.warm = True
    platform.start()
    await platform.when(lambda: platform.store.locked(READY))


async def test_readiness_is_not_told_while_samplers_are_cold(platform: Platform) -> None:
    platform.start()
    for _ in range(2):  # the second look comes after whatever the first one led to
        await platform.reconciler.looks.get()
    assert not platform.store.locked(READY)


async def test_a_bundle_is_prepared_by_the_first_sampler_that_starts(platform: Platform) -> None:
    platform.sampler.broadcasts.extend([DeploymentUnavailableError("sampler"), [], [None]])
    platform.start()
    await platform.reconciler.prepare(SERVED)
    assert platform.sampler.prepared == [SERVED] * 3


async def test_a_new_version_is_tried_by_a_sampler_also_where_there_may_be_none(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "LOOK_EVERY", 0.01)
    platform.sampler.running = []
    dispatcher = platform.start(fewest=0)
    platform.sampler.broadcasts.extend([DeploymentUnavailableError("sampler")] * 1000)
    preparing = asyncio.create_task(platform.reconciler.prepare(SERVED))
    while not (await dispatcher.record_autoscaling_stats()).get("samplers"):
        await asyncio.sleep(0)
    platform.sampler.broadcasts.clear()
    platform.sampler.broadcasts.append([None])  # it has come
    await preparing
    while (await dispatcher.record_autoscaling_stats())["samplers"]:
        await asyncio.sleep(0)


async def test_what_was_served_before_is_served_without_a_sampler(platform: Platform) -> None:
    platform.sampler.running = []
    platform.start(fewest=0)
    served = replace(SERVED, name="controlnet-demo")
    platform.store.set_serving(served)
    platform.sampler.broadcasts.append(DeploymentUnavailableError("sampler"))
    await platform.reconciler.prepare(served)


async def test_a_sampler_that_cannot_prepare_is_heard(platform: Platform) -> None:
    platform.sampler.broadcasts.append(RayActorError())
    platform.start()
    with pytest.raises(RayActorError):
        await platform.reconciler.prepare(SERVED)


async def test_health_names_the_loop_that_has_ended(platform: Platform) -> None:
    platform.reconciler.error = OSError("no disk")
    dispatcher = platform.start()
    await asyncio.wait(dispatcher._loops, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(RuntimeError, match="reconcile loop"):
        dispatcher.check_health()


async def test_a_new_sampler_learns_what_is_served(platform: Platform) -> None:
    served = ServedModel("controlnet-demo", "3", "sha256:aa", {}, "models:/controlnet-demo/3")
    platform.store.set_serving(served)
    assert await platform.start().served() == served


async def test_a_png_is_told_all_that_makes_it_again(platform: Platform, spec: JobSpec) -> None:
    parameters = png_parameters(platform.submit(spec), 8)
    assert parameters["seed"] == 8
    assert parameters["model_digest"] == "sha256:aa"
    assert (parameters["prompt"], parameters["steps"], parameters["width"]) == ("a house", 20, 256)
    assert parameters["controls"][0]["parameters"] == {"low_threshold": 100.0}


async def test_a_png_is_told_nothing_of_the_tenant(platform: Platform, spec: JobSpec) -> None:
    job = platform.submit(spec)
    text = json.dumps(png_parameters(job, 8))
    assert "acme" not in text
    assert job.id not in text


@pytest.mark.parametrize(
    "call", ["claim", "renew", "progress", "image_done", "succeed", "take_lock", "cancel_requests"]
)
async def test_a_store_that_is_away_for_a_while_costs_no_attempt(
    platform: Platform, spec: JobSpec, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Each kind of call is refused twice, as by a database that restarts."""
    monkeypatch.setattr(module, "STORE_RETRY", (0.001, 0.001))
    refusals = [StoreUnavailable("away"), StoreUnavailable("away")]
    working = getattr(JobStore, call)

    def restarting(*arguments: object, **options: object) -> object:
        if refusals:
            raise refusals.pop()
        return working(*arguments, **options)

    monkeypatch.setattr(JobStore, call, restarting)
    job = platform.submit(spec)
    platform.start(lease=1.0 if call == "renew" else 30.0)
    stream = await platform.sampler.streams.get()
    stream.send(Progress(steps=(1, 1), of=4))
    await platform.when(lambda: not refusals or call in ("image_done", "succeed"))
    stream.finish()
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 1)
    assert refusals == []


async def test_a_result_whose_bytes_were_swept_is_made_again(platform: Platform, spec: JobSpec) -> None:
    platform.start()
    job = platform.submit(spec)
    stream = await platform.sampler.streams.get()
    platform.store.retention.condemn(["acme/7.png"])
    platform.store.retention.swept(platform.store.retention.take(), ["acme/7.png"])
    stream.finish()
    (await platform.sampler.streams.get()).finish()
    ended = await platform.ended(job)
    assert (ended.state, ended.attempt) == ("succeeded", 2)


async def test_an_image_that_is_looked_at_takes_its_map_along(platform: Platform, spec: JobSpec) -> None:
    platform.start(adherence_share=1.0)
    job = platform.submit(spec)
    (await platform.sampler.streams.get()).finish()
    await platform.ended(job)
    steered = sorted(one.image for one in platform.imaging.steered if one is not None)
    assert steered == [0, 1]
    first = platform.imaging.steered[0]
    assert first is not None
    assert (first.control, first.low, first.high, first.version) == (0, 100.0, 140.0, "3")


async def test_an_image_without_a_canny_map_is_compared_with_none(platform: Platform, spec: JobSpec) -> None:
    platform.start(adherence_share=1.0)
    job = platform.submit(replace(spec, controls=()))
    (await platform.sampler.streams.get()).finish()
    await platform.ended(job)
    assert platform.imaging.steered == [None, None]


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_job_goes_on_in_the_trace_of_its_request(platform: Platform, spec: JobSpec) -> None:
    exporter = InMemorySpanExporter()
    dispatcher = platform.start()
    dispatcher._tracing = Tracing("dispatcher", None, exporter=exporter)
    job = platform.store.submit("acme", spec, ModelVersion("demo", "3", "sha256:aa"), trace=TRACE)
    stream = await platform.sampler.streams.get()
    stream.finish()
    await platform.ended(job)
    await asyncio.gather(*dispatcher._running)
    await platform.end(dispatcher)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert spans.keys() == {"queue", "job", "commit"}
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE.split("-")[1]}
    assert stream.work.trace is not None
    assert stream.work.trace.split("-")[2] == f"{spans['job'].context.span_id:016x}"
