"""What others know to be wrong with Terraform. An exception stands beside its line, with the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.terraform import ROOT, copy

pytestmark = pytest.mark.infra

SCANNERS = ROOT / "build/scanners/bin"
UNREAD = {"rules.tf", "observability.tftest.hcl"}
"""Files in which `for` is a name: checkov takes it for the keyword. trivy reads the first of them."""


@pytest.fixture(scope="module")
def checkov(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    tree = str(copy(tmp_path_factory.mktemp("checkov")))
    return _scan("checkov", "--framework", "terraform", "--skip-download", "-o", "json", "-d", tree)


def test_checkov_finds_nothing(checkov: dict[str, Any]) -> None:
    assert [(found["check_id"], found["resource"]) for found in checkov["results"]["failed_checks"]] == []


def test_checkov_reads_everything_else(checkov: dict[str, Any]) -> None:
    assert {Path(path).name for path in checkov["results"]["parsing_errors"]} == UNREAD
    assert len(checkov["results"]["passed_checks"]) > 50


def test_trivy_finds_nothing(tmp_path: Path) -> None:
    tree = str(copy(tmp_path))
    report = _scan("trivy", "config", "--quiet", "--skip-check-update", "--skip-version-check", "-f", "json", tree)

    found = [(each["ID"], part["Target"]) for part in report["Results"] for each in part.get("Misconfigurations", [])]

    assert len(report["Results"]) > 5
    assert found == []


def _scan(program: str, *arguments: str) -> dict[str, Any]:
    place = shutil.which(program) or shutil.which(program, path=str(SCANNERS))
    if place is None:
        pytest.skip(f"no {program} on the PATH or in {SCANNERS.relative_to(ROOT)}: `make services` installs it")
    done = subprocess.run([place, *arguments], capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)
    return report
