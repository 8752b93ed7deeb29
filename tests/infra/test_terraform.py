from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.terraform import SOURCE, Terraform, Verdict, copy, folders

pytestmark = pytest.mark.infra

FOLDERS = folders()
MODULES = [folder for folder in FOLDERS if folder.startswith("modules/")]


@dataclass(frozen=True)
class Checked:
    valid: bool
    words: str
    tested: Verdict


@pytest.fixture(scope="module")
def checked(
    request: pytest.FixtureRequest, terraform: Terraform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Checked]]]:
    """Every folder that this session asks for, two at a time: providers start slowly."""
    tree = copy(tmp_path_factory.mktemp("terraform"))

    def check(folder: str) -> Checked:
        terraform.init(tree / folder)
        validated = terraform.run(tree / folder, "validate", "-no-color")
        return Checked(validated.returncode == 0, validated.stdout, terraform.test(tree / folder))

    asked = {
        item.callspec.params["folder"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(2) as pool:
        yield {folder: pool.submit(check, folder) for folder in FOLDERS if folder in asked}


def test_it_is_formatted(terraform: Terraform) -> None:
    done = terraform.run(SOURCE, "fmt", "-check", "-diff", "-recursive")

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_is_valid(checked: Mapping[str, Future[Checked]], folder: str) -> None:
    found = checked[folder].result()

    assert found.valid, found.words


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_value_is_undocumented(checked: Mapping[str, Future[Checked]], folder: str) -> None:
    # The providers warn of what is outside the documented set.
    assert "is not a documented value" not in checked[folder].result().words


@pytest.mark.parametrize("folder", FOLDERS)
def test_its_own_tests_pass(checked: Mapping[str, Future[Checked]], folder: str) -> None:
    tested = checked[folder].result().tested

    assert set(tested.runs.values()) == {"pass"}, tested.output


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_variable_is_typed_and_described(folder: str) -> None:
    bare = [
        name
        for name, body in _blocks(folder, "variable").items()
        if not re.search(r"^  type += ", body, re.MULTILINE)
        or not re.search(r'^  description += "', body, re.MULTILINE)
    ]

    assert bare == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_output_is_described(folder: str) -> None:
    bare = [
        name
        for name, body in _blocks(folder, "output").items()
        if not re.search(r'^  description += "', body, re.MULTILINE)
    ]

    assert bare == []


@pytest.mark.parametrize("folder", MODULES)
def test_its_readme_has_what_the_code_says(folder: str) -> None:
    readme = (SOURCE / folder / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", readme, re.MULTILINE))
    said = {
        name: found[1].replace('\\"', '"')
        for kind in ("variable", "output")
        for name, body in _blocks(folder, kind).items()
        if (found := re.search(r'^  description += "(.*)"$', body, re.MULTILINE))
    }

    assert {name: told.get(name) for name in said} == said


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_bound_is_tested(folder: str) -> None:
    """A validation that no test trips may let everything through."""
    bounded = {name for name, body in _blocks(folder, "variable").items() if "  validation {" in body}
    tested = "".join(path.read_text(encoding="utf-8") for path in (SOURCE / folder / "tests").glob("*.tftest.hcl"))
    tripped = set(re.findall(r"\bvar\.(\w+)", " ".join(re.findall(r"expect_failures = \[(.*?)\]", tested))))

    assert bounded - tripped - ALIKE == set()


ALIKE = frozenset({"name", "resource_group_name", "location", "tenant_id"})
"""Written alike in every module; tested where they were written first."""


def test_no_state_and_no_lock_of_a_module_is_kept() -> None:
    ignored = (SOURCE / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {"*.tfstate", "*.tfvars", ".terraform/", "modules/**/.terraform.lock.hcl"} <= set(ignored)


def test_no_lock_has_the_hashes_of_schemas() -> None:
    """A registry's lock has the hashes of packages (`zh:`); those of a folder's providers alone are no lock."""
    locks = [lock.read_text(encoding="utf-8") for lock in SOURCE.rglob(".terraform.lock.hcl")]

    assert all('"zh:' in provider for lock in locks for provider in lock.split('\nprovider "')[1:])


def _blocks(folder: str, kind: str) -> dict[str, str]:
    """Bodies of the blocks of a kind, by name. `terraform fmt` puts the closing brace at the line's start."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(SOURCE / folder).glob("*.tf")))
    return dict(re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.MULTILINE | re.DOTALL))
