"""An evaluation of tiny random networks: nothing in it is good, everything in it is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from controlnet.bundle import Bundle, Defaults, write_bundle
from controlnet.evaluation.evaluate import Evaluation, evaluate
from controlnet.evaluation.photographs import follow
from controlnet.evaluation.sampling import Subject
from controlnet.pipeline import Pipeline
from tests.networks import TINY, write_tokenizer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # MLflow 3.17.2 uses a loader strategy that SQLAlchemy 2.1 deprecates.
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"))


@pytest.fixture(scope="session")
def bundle(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(
        tmp_path_factory.mktemp("bundles") / "tiny",
        architecture=TINY,
        unet=pipeline.unet.state_dict(),
        vae=pipeline.vae.state_dict(),
        text=pipeline.text.state_dict(),
        controls={
            "canny": (pipeline.controls["canny"].state_dict(), "canny", {"low_threshold": 60, "high_threshold": 140}),
            "depth": (pipeline.controls["depth"].state_dict(), "none", {}),
        },
        tokenizer=write_tokenizer(tmp_path_factory.mktemp("words")),
        name="tiny",
        version="1",
        native_size=(32, 32),
        licence="Apache-2.0",
        training_data="none",
        metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
        defaults=Defaults(steps=2, guidance=3.0, negative_prompt="", sampler="ddim"),
    )


@pytest.fixture(scope="session")
def subject(bundle: Bundle) -> Subject:
    return Subject.of(bundle)


@pytest.fixture(scope="session")
def evaluation(subject: Subject) -> Evaluation:
    rng = np.random.default_rng(0)
    photographs = follow(subject, {"coins": rng.integers(0, 256, (48, 64, 3), np.uint8)})
    return evaluate(subject, 4, seen=2, photographs=photographs, command="controlnet evaluate tiny --count 4")
