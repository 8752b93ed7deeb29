"""Against a real MLflow in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlnet.bundle import Bundle
from controlnet.cli import app
from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.tracking import Place, WrongVersion, log
from serve.registry.registry import Registry


@pytest.fixture(scope="module")
def registry(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("mlflow")
    registry = Registry(f"sqlite:///{folder / 'mlflow.db'}", "tiny", folder / "artifacts")
    registry.push(bundle.folder)
    return registry


@pytest.fixture(scope="module")
def uri(registry: Registry) -> str:
    return registry._uri


def test_a_version_gets_metrics_report_and_tags(registry: Registry, uri: str, evaluation: Evaluation) -> None:
    from mlflow import MlflowClient

    place = Place.find(uri, "tiny", "1", evaluation.digest)
    log(evaluation, place)
    client = MlflowClient(uri, uri)
    run = client.get_run(place.run_id)
    assert run.data.metrics["canny_f1_control_g3"] == evaluation.metrics()["canny_f1_control_g3"]
    artifacts = {item.path for item in client.list_artifacts(place.run_id, "evaluation")}
    assert artifacts == {"evaluation/report.html", "evaluation/evaluation.json"}
    tags = client.get_model_version("tiny", "1").tags
    assert tags["edges_followed_of_the_ceiling"].endswith("of 0.75")
    assert tags["digest"] == evaluation.digest


def test_what_is_logged_leaves_the_version_servable(
    registry: Registry, uri: str, evaluation: Evaluation, tmp_path: Path
) -> None:
    log(evaluation, Place.find(uri, "tiny", "1", evaluation.digest))
    folder = registry.fetch_source("models:/tiny/1", evaluation.digest, tmp_path)
    assert Bundle.open(folder).digest == evaluation.digest


def test_a_version_that_holds_another_bundle_is_refused(registry: Registry, uri: str) -> None:
    with pytest.raises(WrongVersion, match="measured is sha256:other"):
        Place.find(uri, "tiny", "1", "sha256:other")


def test_a_version_that_is_not_there_is_refused(registry: Registry, uri: str, evaluation: Evaluation) -> None:
    with pytest.raises(WrongVersion, match="version 9 of tiny"):
        Place.find(uri, "tiny", "9", evaluation.digest)


def test_the_command_logs_on_the_version_it_is_given(registry: Registry, uri: str, bundle: Bundle) -> None:
    from mlflow import MlflowClient

    where = ["--mlflow", uri, "--model", "tiny", "--version", "1"]
    result = CliRunner().invoke(app, ["evaluate", str(bundle.folder), "--count", "1", *where])
    assert result.exit_code == 0, result.output
    client = MlflowClient(uri, uri)
    run_id = client.get_model_version("tiny", "1").run_id
    assert client.get_run(run_id).data.metrics["judged"] == 1


def test_the_command_refuses_another_version_before_it_samples(registry: Registry, uri: str, bundle: Bundle) -> None:
    where = ["--mlflow", uri, "--model", "tiny", "--version", "9"]
    result = CliRunner().invoke(app, ["evaluate", str(bundle.folder), "--count", "1", *where])
    assert result.exit_code == 1
    assert "version 9 of tiny" in " ".join(result.output.split())
    assert "prompt and map" not in result.output
