import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about Ray's own models
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as built
    from ray.serve._private.build_app import build_app

from serve.deployments import ray_service


def deployments(application):
    return {deployment.name: deployment for deployment in build_app(application, name="x").deployments}


def test_ray_serve_builds_the_platform_from_the_environment(monkeypatch):
    monkeypatch.setenv("CN_SAMPLER_GPUS", "1")
    monkeypatch.setenv("CN_SAMPLER_REPLICAS", "[1, 7]")
    found = deployments(built(ray_service.platform, {}))
    assert found.keys() == {"dispatcher", "imaging", "sampler"}
    assert found["sampler"].ray_actor_options["num_gpus"] == 1
    assert found["sampler"]._deployment_config.autoscaling_config.max_replicas == 7


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
