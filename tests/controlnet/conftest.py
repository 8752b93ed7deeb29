"""Tiny networks for the tests of the library."""

from __future__ import annotations

import pytest

from controlnet.pipeline import Pipeline
from tests.networks import tiny_pipeline


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny_pipeline(tmp_path_factory.mktemp("tokenizer"))
