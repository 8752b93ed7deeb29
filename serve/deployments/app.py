"""The Ray Serve application: which deployment gets what, and how many of each."""

from __future__ import annotations

from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from serve.config import Settings
from serve.deployments.dispatcher import Dispatcher
from serve.deployments.imaging import Imaging
from serve.deployments.sampler import Sampler

NAME = "controlnet"


def build(settings: Settings, gpus: float) -> Application:
    """Bind the three deployments.

    Args:
        settings: Of the platform.
        gpus: For each sampler; 0 samples on the CPU.
    """
    # A job's call must outlive a rolling update: 20 s, the default, would cut long jobs off.
    drain = settings.job_timeout
    sampler = ray_serve.deployment(
        name="sampler",
        autoscaling_config=_between(settings.sampler_replicas, target=4.0),
        max_ongoing_requests=settings.claimed_rows,  # a job takes a row at least: the dispatcher's bound is the one
        ray_actor_options={"num_gpus": gpus, "num_cpus": 0.5},
        graceful_shutdown_timeout_s=drain,
        health_check_period_s=5.0,
    )(Sampler).bind(settings)
    imaging = ray_serve.deployment(
        name="imaging",
        autoscaling_config=_between(settings.imaging_replicas, target=4.0),
        max_ongoing_requests=16,
        ray_actor_options={"num_cpus": 0.25},
    )(Imaging).bind(settings)
    return ray_serve.deployment(
        name="dispatcher",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=5.0,
        health_check_period_s=5.0,
    )(Dispatcher).bind(settings, imaging, sampler)


def _between(replicas: tuple[int, int], target: float) -> AutoscalingConfig:
    fewest, most = replicas
    return AutoscalingConfig(min_replicas=fewest, max_replicas=most, target_ongoing_requests=target)
