"""Log an evaluation on the version of a registered model in MLflow that it measured."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.report import write_report

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "evaluation"
"""Of the run's artifacts."""


def send_nothing_home() -> None:
    """Switch MLflow's telemetry off, unless the environment says otherwise. It is looked at when MLflow is imported."""
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(variable, "true")


class WrongVersion(ValueError):
    """The version in the registry isn't there, or isn't the bundle that is measured."""


@dataclass(frozen=True)
class Place:
    """Where an evaluation is logged.

    Attributes:
        tracking_uri: MLflow's.
        name: of the registered model.
        version: of it.
        run_id: of the run that made the version.
    """

    tracking_uri: str
    name: str
    version: str
    run_id: str

    @classmethod
    def find(cls, tracking_uri: str, name: str, version: str, digest: str) -> Place:
        """Find a version and make sure that it holds the bundle with this digest, which it carries as a tag.

        Raises:
            WrongVersion: there is no such version, it has another digest, or no run.
            ModuleNotFoundError: MLflow isn't installed.
        """
        from mlflow.exceptions import MlflowException

        try:
            found = _client(tracking_uri).get_model_version(name, version)
        except MlflowException as error:
            raise WrongVersion(f"version {version} of {name} can't be had from {tracking_uri}: {error}") from error
        known = found.tags.get("digest")
        if known != digest or not found.run_id:
            raise WrongVersion(f"version {version} of {name} is {known}, run {found.run_id}; measured is {digest}")
        return cls(tracking_uri, name, version, str(found.run_id))


def log(evaluation: Evaluation, place: Place) -> None:
    """Log metrics, report and JSON on the version's run, and tag the version with what it was to reach."""
    client = _client(place.tracking_uri)
    for key, value in evaluation.metrics().items():
        client.log_metric(place.run_id, key, value)
    with tempfile.TemporaryDirectory() as folder:
        for file in write_report(evaluation, Path(folder)):
            client.log_artifact(place.run_id, str(file), FOLDER)
    for target in evaluation.targets():
        key = target.title.replace(",", "").replace(" ", "_")
        client.set_model_version_tag(place.name, place.version, key, f"{target.found} of {target.bound:g}")


def _client(tracking_uri: str) -> MlflowClient:
    # Importing MLflow takes seconds, and only who asks for it has it installed.
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri, tracking_uri)
