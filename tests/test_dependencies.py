"""What can be known of dependencies without asking anybody: that what was tested is what is pinned, and not known bad.

Whether an advisory was published since is `make audit`'s question, which needs the network.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OURS = "controlnet-platform"
TOOLS = {"pip", "setuptools", "wheel"}  # of the environment itself; `pip freeze` leaves them out, too

FIXED = {
    "cryptography": ("44.0.1", "CVE-2024-12797"),
    "h11": ("0.16.0", "CVE-2025-43859"),  # chunks that smuggle requests: it reads every request here
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "pillow": ("11.3.0", "CVE-2025-48379"),
    "protobuf": ("6.31.1", "CVE-2025-4565"),
    "pyjwt": ("2.10.1", "CVE-2024-53861"),
    "python-multipart": ("0.0.18", "CVE-2024-53981"),
    "ray": ("2.52.0", "CVE-2025-62593"),
    "requests": ("2.32.4", "CVE-2024-47081"),
    "starlette": ("0.49.1", "CVE-2025-62727"),
    "torch": ("2.6.0", "CVE-2025-32434"),  # weights_only ran code: `controlnet import` leans on it
    "transformers": ("5.3.0", "CVE-2026-4372"),  # a config.json ran code whatever trust_remote_code said
    "urllib3": ("2.5.0", "CVE-2025-50181"),
}
"""The first version without a fault that would matter here."""


def pinned() -> dict[str, Version]:
    """Name -> version of constraints.txt."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def installed() -> dict[str, Version]:
    """Name -> version of this environment, without the build's own tag (`+cpu`).

    Its own folder only: Ray, once imported, puts packages that it carries on the path.
    """
    here = distributions(path=[sysconfig.get_path("purelib")])
    found = {canonicalize_name(it.metadata["Name"]): Version(it.version.split("+")[0]) for it in here}
    return {name: version for name, version in found.items() if name not in {OURS, *TOOLS}}


def test_what_is_installed_is_what_is_pinned() -> None:
    """A package that came in unpinned is one that nobody chose, and that `make audit` would not ask about."""
    pins = pinned()
    strangers = {name: str(version) for name, version in installed().items() if pins.get(name) != version}
    assert strangers == {}


def test_everything_asked_for_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    pins = pinned()
    requirements = [Requirement(line) for line in asked]
    names = [canonicalize_name(it.name) for it in requirements]
    assert [str(it) for it, name in zip(requirements, names, strict=True) if name not in pins] == []
    assert [str(it) for it, name in zip(requirements, names, strict=True) if pins[name] not in it.specifier] == []


def test_requirements_of_requirements_are_met() -> None:
    checked = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", FIXED)
def test_no_version_is_known_to_be_bad(name: str) -> None:
    version, advisory = FIXED[name]
    assert pinned()[name] >= Version(version), advisory
