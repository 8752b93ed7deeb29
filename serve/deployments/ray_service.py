"""What declared applications name: builders, whose settings are the environment's.

A RayService names `platform` and `health` in its `serveConfigV2`, `cnserve up` names `machine`.

Model versions are no part of it: promotion goes through the registry, and nothing here is deployed anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray import serve as ray_serve
from ray.serve import Application

from serve.config import Settings
from serve.deployments.app import build


def platform(arguments: Mapping[str, str]) -> Application:
    """The three deployments.

    Args:
        arguments: Of the application in `serveConfigV2`; there are none, as a change of them would restart replicas.

    Raises:
        ValueError: There are arguments, or `CN_SAMPLER_GPUS` is not set.
    """
    if arguments:
        raise ValueError(f"args has {', '.join(sorted(arguments))}: set CN_* in the pods' environment instead")
    settings = Settings()
    if settings.sampler_gpus is None:
        # A cluster that starts without GPU nodes has no GPU to be seen, so nothing can be guessed.
        raise ValueError("CN_SAMPLER_GPUS is not set: set GPUs per sampler, 0 to sample on the CPU")
    return build(settings, settings.sampler_gpus)


def machine(arguments: Mapping[str, float]) -> Application:
    """The three deployments on one machine, for `cnserve up`.

    Args:
        arguments: `gpus`, for each sampler.
    """
    return build(Settings(), arguments["gpus"])


def health(_arguments: Mapping[str, str]) -> Application:
    """One route that touches nothing, for KubeRay: it counts a cluster as ready when Serve's proxies answer.

    A proxy answers its own `/-/healthz` when it knows of a route, and off the head when a replica is behind one.
    """
    return ray_serve.deployment(name="health", num_replicas=1, ray_actor_options={"num_cpus": 0})(Health).bind()


class Health:
    """Says that Serve routes."""

    async def __call__(self, _request: object) -> str:
        """The body KubeRay looks for in its own probes, too."""
        return "success"
