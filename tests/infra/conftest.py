"""The charts, rendered once for all tests that only read, and Terraform."""

from __future__ import annotations

import pytest

from tests.infra.charts import Charts, Missing, Render, platform
from tests.infra.schemas import Schemas
from tests.infra.terraform import Missing as NoTerraform
from tests.infra.terraform import Terraform


@pytest.fixture(scope="session")
def charts(tmp_path_factory):
    try:
        return Charts(tmp_path_factory.mktemp("charts"))
    except Missing as missing:
        pytest.skip(f"charts are not rendered: {missing}")


@pytest.fixture(scope="session")
def schemas():
    try:
        return Schemas()
    except Missing as missing:
        pytest.skip(f"objects are not validated: {missing}")


@pytest.fixture(scope="session")
def rendered(charts):
    made: dict[tuple[str, int, bool], list[Render]] = {}

    def get(environment: str, n: int, dedicated: bool) -> list[Render]:
        key = (environment, n, dedicated)
        if key not in made:
            made[key] = platform(charts, *key)
        return made[key]

    return get


@pytest.fixture(scope="session")
def terraform():
    try:
        terraform = Terraform()
    except NoTerraform as missing:
        pytest.skip(f"Terraform is not checked: {missing}")
    with terraform:
        yield terraform
