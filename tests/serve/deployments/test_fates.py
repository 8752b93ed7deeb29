"""What errors tell of the job that met them; Ray's are made as its own deserializer makes them."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from ray.core.generated.common_pb2 import ActorDiedErrorContext, NodeDeathInfo
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    RayTaskError,
    ReferenceCountingAssertionError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.serve.exceptions import DeploymentUnavailableError

from serve.deployments.fates import fate_of
from serve.engine.core import EngineClosed, EngineDead
from serve.jobs.retention import ArtifactsSwept

CRASH = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker "
    "unexpectedly exits with a connection error code 2. End of file."
)


def dead(why: str, **more: object) -> ActorDiedError:
    return ActorDiedError(cause=ActorDiedErrorContext(error_message=why, actor_id=bytes(16), **more))


def failing_init() -> RayTaskError:
    return RayTaskError("__init__", "its traceback", OSError("no bundle"), actor_id="aa")


@pytest.mark.parametrize(
    "error",
    [
        dead(CRASH),
        dead(CRASH.replace("SYSTEM_ERROR", "NODE_OUT_OF_MEMORY")),
        ActorDiedError(),
        ActorUnavailableError("the connection is lost", bytes(16)),
        WorkerCrashedError(),
        OutOfMemoryError("killed by the memory monitor"),
        OwnerDiedError("aa", b"", ""),
        EngineDead("the engine died"),
    ],
)
def test_a_worker_that_died_makes_its_job_suspect(error: Exception) -> None:
    assert fate_of(error) == "died"


@pytest.mark.parametrize(
    "error",
    [
        dead("The actor is dead because it was killed by `ray.kill`."),
        dead("The actor died because its node has died. Node Id: aa"),
        dead("The actor is dead because its owner has died. Owner Id: aa"),
        dead("The actor is dead because all references to the actor were removed."),
        dead(CRASH.replace("SYSTEM_ERROR", "INTENDED_SYSTEM_EXIT")),
        dead(CRASH.replace("SYSTEM_ERROR", "INTENDED_USER_EXIT")),
        dead(CRASH, node_death_info=NodeDeathInfo(reason="AUTOSCALER_DRAIN_PREEMPTED")),
        dead("It is cancelled.", never_started=True),
        ActorDiedError(cause=failing_init()),
        NodeDiedError("its node died"),
        ObjectLostError("aa", "bb", "cc"),
        ReferenceCountingAssertionError("aa", b"", ""),
        TaskCancelledError(),
        asyncio.CancelledError(),
        DeploymentUnavailableError("sampler"),
        EngineClosed("the engine was stopped"),
        ArtifactsSwept({"demo/a.png"}),
    ],
)
def test_what_happened_around_a_job_is_no_fault_of_it(error: BaseException) -> None:
    assert fate_of(error) == "stopped"


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("CUDA out of memory"), TimeoutError()])
def test_any_other_error_is_the_attempts_own(error: Exception) -> None:
    assert fate_of(error) == "failed"
    assert fate_of(RayTaskError("generate", "its traceback", error).as_instanceof_cause()) == "failed"


def test_an_error_that_ray_cannot_carry_is_the_attempts_own() -> None:
    class Local(Exception):
        def __reduce__(self) -> str:
            raise TypeError("not to be pickled")

    assert fate_of(RayTaskError("generate", "its traceback", Local())) == "failed"


def test_a_death_is_found_below_the_errors_of_those_that_waited_for_it() -> None:
    """A sampler that is handed maps of a dead imaging replica raises that replica's error."""
    inner = RayTaskError("annotate", "its traceback", dead(CRASH))
    assert fate_of(RayTaskError("generate", "its traceback", inner).as_instanceof_cause()) == "died"


@pytest.mark.parametrize("error", [EngineDead("the engine died"), dead(CRASH), ArtifactsSwept({"demo/a.png"})])
def test_what_tells_of_a_fate_crosses_processes(error: Exception) -> None:
    assert fate_of(pickle.loads(pickle.dumps(error))) == fate_of(error)
