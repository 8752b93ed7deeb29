import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about Ray's own models
    from ray._common.utils import import_attr
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as built
    from ray.serve._private.build_app import build_app

from serve.deployments import names, ray_service, scaling


def deployments(application):
    return {deployment.name: deployment for deployment in build_app(application, name="x").deployments}


def test_ray_serve_builds_the_platform_from_the_environment(monkeypatch):
    monkeypatch.setenv("CN_SAMPLER_GPUS", "1")
    monkeypatch.setenv("CN_SAMPLER_REPLICAS", "[1, 7]")
    found = deployments(built(ray_service.platform, {}))
    assert found.keys() == {"dispatcher", "imaging", "sampler"}
    assert found["sampler"].ray_actor_options["num_gpus"] == 1
    assert found["sampler"]._deployment_config.autoscaling_config.max_replicas == 7


def test_one_machine_says_its_gpus_as_an_argument(monkeypatch):
    monkeypatch.delenv("CN_SAMPLER_GPUS", raising=False)
    found = deployments(built(ray_service.machine, {"gpus": 0.0}))
    assert found["sampler"].ray_actor_options["num_gpus"] == 0


def test_the_names_that_ray_is_given_are_there():
    assert import_attr(names.BUILDER) is ray_service.machine
    assert import_attr(names.POLICY) is scaling.replicas


def scales(found, name):
    return found[name]._deployment_config.autoscaling_config


def test_samplers_come_at_once_and_go_when_the_settings_say(monkeypatch):
    monkeypatch.setenv("CN_SAMPLER_REPLICAS", "[0, 3]")
    monkeypatch.setenv("CN_SCALE_DOWN_AFTER", "7")
    monkeypatch.setenv("CN_SCALE_TO_ZERO_AFTER", "11")
    config = scales(deployments(built(ray_service.machine, {"gpus": 0.0})), "sampler")
    assert (config.min_replicas, config.max_replicas, config.initial_replicas) == (0, 3, None)
    assert (config.upscale_delay_s, config.downscale_delay_s, config.downscale_to_zero_delay_s) == (0, 7, 11)


def test_a_sampler_that_goes_ends_its_jobs_first(monkeypatch):
    monkeypatch.setenv("CN_JOB_TIMEOUT", "900")
    found = deployments(built(ray_service.machine, {"gpus": 0.0}))
    assert found["sampler"]._deployment_config.graceful_shutdown_timeout_s == 900


def test_there_is_one_dispatcher_and_it_speaks_every_second():
    config = scales(deployments(built(ray_service.machine, {"gpus": 0.0})), "dispatcher")
    assert (config.min_replicas, config.max_replicas, config.metrics_interval_s) == (1, 1, 1.0)


def test_the_gpus_of_a_sampler_are_said_not_guessed(monkeypatch):
    monkeypatch.delenv("CN_SAMPLER_GPUS", raising=False)
    with pytest.raises(ValueError, match="CN_SAMPLER_GPUS is not set"):
        built(ray_service.platform, {})


def test_arguments_that_would_restart_replicas_are_refused(monkeypatch):
    monkeypatch.setenv("CN_SAMPLER_GPUS", "0")
    with pytest.raises(ValueError, match="args has model"):
        built(ray_service.platform, {"model": "controlnet-demo"})


async def test_the_health_route_answers_what_kuberay_looks_for():
    found = deployments(built(ray_service.health, {}))
    assert found.keys() == {"health"}
    assert await ray_service.Health()(None) == "success"
