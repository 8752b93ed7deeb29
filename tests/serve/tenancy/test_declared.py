from __future__ import annotations

from pathlib import Path

import pytest

import serve.tenancy.declared
from serve.tenancy.declared import DeclarationError, read
from serve.tenancy.tenants import Limits, Tenant

STUDIO = """
tenants:
  - name: studio
    weight: 2
    models: [controlnet-demo]
    limits: {requests_per_minute: 600, queued_jobs: 200, images_per_day: 10000, gflop_per_day: 5.0e+7,
             max_pixels: 1048576, max_steps: 50, max_images: 8, retention_days: 7}
"""


@pytest.fixture
def declare(tmp_path: Path):
    def declare(text: str):
        file = tmp_path / "tenants.yaml"
        file.write_text(text)
        return read(file)

    return declare


def test_all_of_a_team(declare):
    limits = Limits(600, 200, 10_000, 5e7, 1_048_576, 50, 8, 7.0, ("controlnet-demo",))
    assert declare(STUDIO) == [Tenant("studio", 2.0, limits)]


def test_the_example_of_the_module_is_one(declare):
    text = serve.tenancy.declared.__doc__.split("\n\n")[1]
    assert [tenant.name for tenant in declare(text)] == ["studio"]


def test_a_name_is_enough(declare):
    assert declare("tenants: [{name: red}]") == [Tenant("red")]


def test_there_may_be_none(declare):
    assert declare("tenants: []") == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tenants: [{name: red, weight: 0}]", r"tenants.0.weight \(team red\): must be more than 0"),
        ("tenants: [{name: red, limits: {max_steps: 0}}]", "tenants.0.limits.max_steps .*: must be at least 1"),
        (
            "tenants: [{name: red, limits: {max_step: 5}}]",
            "tenants.0.limits.max_step .*: is not a known field: did you mean max_steps",
        ),
        ("tenants: [{name: red, limits: {max_steps: '5'}}]", "tenants.0.limits.max_steps .*: must be a whole number"),
        (
            "tenants: [{name: red, limits: {gflop_per_day: .inf}}]",
            "tenants.0.limits.gflop_per_day .*: must be a finite number",
        ),
        ("tenants: [{name: red, models: []}]", "tenants.0.models .*: must have at least 1 items"),
        ("tenants: [{weight: 1}]", "tenants.0.name: is required"),
        ("tenants: [{name: red}, {name: red}]", "declared twice: red"),
        ("tenants: [{name: red, name: blue}]", "'name' is there twice"),
        ("tenants: [{? [a] : 1}]", "unhashable"),
        ("teams: []", "tenants: is required"),
        ("", "the file: must be `tenants:` and a list of teams"),
        ("tenants: [red]", "tenants.0: must be names with values"),
        ("tenants: [{weight: 0}]", "team without a name"),
        ("tenants: [", "tenants.yaml: while parsing"),
        ("tenants: [!!python/object/apply:os.getcwd []]", "could not determine a constructor"),
    ],
)
def test_what_is_not_understood_is_refused_by_file_place_and_bound(declare, text, told):
    with pytest.raises(DeclarationError, match=told) as caught:
        declare(text)
    assert "tenants.yaml: " in str(caught.value)


@pytest.mark.parametrize("name", ["", "Red", "a_b", "-a", "a-", "a.b", "a" * 64, "a\n", "é"])
def test_a_name_is_a_dns_label(declare, name):
    with pytest.raises(DeclarationError, match=r"tenants\.0\.name: must be 1 to 63 of a-z"):
        declare(f"tenants: [{{name: {name!r}}}]".replace("'", '"'))


@pytest.mark.parametrize("name", ["a", "studio-2", "0", "a" * 63])
def test_these_are(declare, name):
    assert declare(f"tenants: [{{name: '{name}'}}]")[0].name == name


def test_all_faults_are_told_at_once(declare):
    with pytest.raises(DeclarationError) as caught:
        declare("tenants: [{name: red, weight: 0, limits: {max_steps: 0}}]")
    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(
        DeclarationError, match=r"none\.yaml is not there: write the teams into it, as docs/teams\.md shows\."
    ):
        read(tmp_path / "none.yaml")
