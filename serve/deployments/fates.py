"""What the error of an attempt tells of the job: whether the attempt counts, and for what. Pure.

Ray says why an actor is dead in a sentence only; these are of its version 2.60 (`gcs_actor.cc`, `WorkerExitType`). What
is not known to be somebody's will is taken for a death: that is proven before it counts.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from ray.exceptions import OutOfMemoryError, OwnerDiedError, RayActorError, RayError, WorkerCrashedError
from ray.serve.exceptions import RayServeException

from serve.deployments.outages import cause_of
from serve.engine.core import EngineClosed, EngineDead
from serve.errors import JobFailed, ServeError
from serve.jobs.job import Job
from serve.jobs.retention import ArtifactsSwept
from serve.registry.registry import NotRegistered, VersionRefused

Fate = Literal["stopped", "died", "failed"]
"""`stopped`: something around the job, which costs it nothing; `died`: its worker; `failed`: the attempt itself."""

WILLED = (
    "killed by `ray.kill`",  # by Serve: a replica that was drained, replaced, or did not answer
    "its node has died",
    "its owner has died",
    "all references to the actor were removed",
    "exit type: INTENDED_",  # of the system (drained) or the user (exit_actor)
    "cancelled before it started running",
    "placement group was removed",
)
"""What Ray says of an actor that did not die of what it was doing."""


def fate_of(error: BaseException) -> Fate:
    """What an attempt's error means for its job, where nothing is away and the request is not at fault."""
    cause = cause_of(error)
    if isinstance(cause, RayActorError):
        willed = cause.preempted or cause.actor_init_failed or any(words in str(cause) for words in WILLED)
        return "stopped" if willed else "died"
    if isinstance(cause, EngineDead | WorkerCrashedError | OutOfMemoryError | OwnerDiedError):
        return "died"  # the owner of pictures is their sampler: of one that has more to make, this may be heard first
    if type(cause) is RayError:  # what Ray says of an error that could not be pickled
        return "failed"
    lost = EngineClosed | RayError | RayServeException | ArtifactsSwept | asyncio.CancelledError
    return "stopped" if isinstance(cause, lost) else "failed"


def verdict(job: Job, error: BaseException) -> ServeError | None:
    """Why a job ends at once, as every other attempt would end alike; none where another one may not."""
    cause = cause_of(error)
    if isinstance(cause, JobFailed) or (isinstance(cause, ServeError) and cause.status < 500):
        return cause
    model = f"Version {job.model.version} of {job.model.name}, which the job was accepted for,"
    if isinstance(cause, NotRegistered):
        return JobFailed(f"{model} is not in the model registry any more. Submit it again, for what is served now.")
    if isinstance(cause, VersionRefused):
        return JobFailed(f"{model} can't be used: {cause} Submit the job again when another version is served.")
    return None
