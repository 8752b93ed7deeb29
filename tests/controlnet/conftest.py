"""Tiny networks for the tests of the library."""

from __future__ import annotations

import pytest

from controlnet.pipeline import Pipeline
from tests.controlnet.golden import sets
from tests.controlnet.golden.sets import Golden
from tests.networks import tiny_pipeline


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny_pipeline(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session", params=["drawn", "original"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Both golden sets; the original's own where it is."""
    if request.param == "drawn":
        return sets.drawn(tmp_path_factory.mktemp("golden"))
    try:
        return sets.original(sets.ORIGINAL)
    except FileNotFoundError:
        pytest.skip(f"the original's own set (ldm-v15.*) is not in {sets.ORIGINAL}; the drawn one is tested")
