"""A real MLflow in a folder, and bundles small enough to push by the dozen."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controlnet.architecture import SD15
from controlnet.bundle import Bundle, write_bundle
from serve.registry import ENVIRONMENT
from serve.registry.registry import Registry


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # MLflow 3.17.2 uses a loader strategy that SQLAlchemy 2.1 deprecates.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"))


@pytest.fixture(scope="session")
def mlflow_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where MLflow keeps everything. Making its tables takes seconds, so it is one for all, a model for each test."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in ENVIRONMENT.items():
            patch.setitem(os.environ, key, value)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="session")
def uri(mlflow_folder: Path) -> str:
    return f"sqlite:///{mlflow_folder / 'mlflow.db'}"


@pytest.fixture(scope="session")
def new_name() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"model-{next(numbers)}"


@pytest.fixture
def registry(uri: str, mlflow_folder: Path, new_name: Callable[[], str]) -> Registry:
    """An empty model of its own."""
    return Registry(uri, new_name(), mlflow_folder / "artifacts")


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[[str], Bundle]:
    """Writes a bundle; another version has another digest."""
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text('{"a": 0}')
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")

    def write(version: str = "1") -> Bundle:
        import torch

        weights = {"weight": torch.arange(8.0)}
        return write_bundle(
            tmp_path / f"bundle-{version}",
            architecture=SD15,
            unet=weights,
            vae=weights,
            text=weights,
            controls={"canny": (weights, "canny", {})},
            tokenizer=tokenizer,
            name="demo",
            version=version,
            native_size=(512, 512),
            licence="Apache-2.0",
            training_data="none",
            metrics={"edge_f1": 0.5},
            created=datetime(2026, 11, 23, tzinfo=UTC),
        )

    return write


# Faults, made for real.


def client(registry: Registry):  # type: ignore[no-untyped-def]
    """MLflow's own client, for what `Registry` has no method for."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=registry._uri, registry_uri=registry._uri)


def artifacts(registry: Registry, version: str) -> Path:
    """Where MLflow keeps the files of a version."""
    of = client(registry)
    run = of.get_run(of.get_model_version(registry.name, version).run_id)
    return Path(run.info.artifact_uri.removeprefix("file://")) / "bundle"


def flip(file: Path) -> None:
    """Change one bit; the size stays."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def closed_port() -> str:
    """Address of a server that isn't there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
