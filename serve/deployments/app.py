"""The Ray Serve application: which deployment gets what, and how many of each."""

from __future__ import annotations

import warnings

from ray import serve as ray_serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from serve.config import Settings

# By path: to say what is to run takes neither torch nor OpenCV, whose imports are most of the time that it took.
DISPATCHER = "serve.deployments.dispatcher.Dispatcher"
IMAGING = "serve.deployments.imaging.Imaging"
SAMPLER = "serve.deployments.sampler.Sampler"

TELL_EVERY = 1.0  # seconds between reports of a dispatcher to Serve's controller
IMAGING_WAIT = 10.0  # seconds for which imaging must have had too many calls: a peak is over before a replica has come


def build(settings: Settings, gpus: float) -> Application:
    """Bind the three deployments.

    Args:
        settings: Of the platform.
        gpus: For each sampler; 0 samples on the CPU.
    """
    # A job's call must outlive a rolling update: 20 s, the default, would cut long jobs off.
    drain = settings.job_timeout
    fewest, most = settings.sampler_replicas
    sampler = ray_serve.deployment(
        name="sampler",
        autoscaling_config=AutoscalingConfig(
            min_replicas=fewest,
            max_replicas=most,
            upscale_delay_s=0.0,  # what waits is known, not guessed from a rate
            downscale_delay_s=settings.scale_down_after,
            downscale_to_zero_delay_s=settings.scale_to_zero_after,
        ),
        # A job takes a row at least, and calls last until pictures are stored: the dispatcher's bound is the one.
        max_ongoing_requests=2 * settings.claimed_rows(most),
        ray_actor_options={"num_gpus": gpus, "num_cpus": 0.5},
        graceful_shutdown_timeout_s=drain,
        health_check_period_s=5.0,
    )(SAMPLER).bind(settings)
    fewest, most = settings.imaging_replicas
    imaging = ray_serve.deployment(
        name="imaging",
        autoscaling_config=AutoscalingConfig(
            min_replicas=fewest,
            max_replicas=most,
            upscale_delay_s=IMAGING_WAIT,
            downscale_delay_s=settings.scale_down_after,
        ),
        max_ongoing_requests=16,
        ray_actor_options={"num_cpus": 0.25},
        graceful_shutdown_timeout_s=60.0,  # where pictures are stored may be slow
    )(IMAGING).bind(settings)
    return ray_serve.deployment(
        name="dispatcher",
        autoscaling_config=_one_that_tells(),
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=5.0,
        health_check_period_s=5.0,
    )(DISPATCHER).bind(settings, imaging, sampler)


def _one_that_tells() -> AutoscalingConfig:
    """One replica, always; the policy hears of deployments that scale only, and of this one it must hear.

    `metrics_interval_s` is deprecated for the sake of an environment variable that nothing in Ray 2.60 reads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=1, max_replicas=1, metrics_interval_s=TELL_EVERY, look_back_period_s=5 * TELL_EVERY
        )
