"""What is in an image, as CycloneDX 1.6: every Python distribution, and every Debian package under it.

Runs inside the image with nothing but the standard library: `python sbom.py /opt/sbom.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

DPKG = Path("/var/lib/dpkg/status")


def bill(python: Iterable[Distribution], dpkg: str) -> dict[str, Any]:
    """The document.

    Args:
        python: Distributions.
        dpkg: Text of dpkg's status file; empty where there is none.
    """
    components = [_python(distribution) for distribution in python]
    components += [_debian(paragraph) for paragraph in dpkg.split("\n\n") if "Status: install ok" in paragraph]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": sorted(components, key=lambda component: component["purl"]),
    }


def _python(distribution: Distribution) -> dict[str, Any]:
    name, version = distribution.metadata["Name"], distribution.version
    licence = distribution.metadata.json.get("license_expression")
    component = _component(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version}")
    return component | ({"licenses": [{"expression": licence}]} if licence else {})


def _debian(paragraph: str) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
    name, version = fields["Package"], fields["Version"]
    return _component(name, version, f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}")


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def main() -> None:
    """Entry point."""
    status = DPKG.read_text(encoding="utf-8") if DPKG.exists() else ""
    Path(sys.argv[1]).write_text(json.dumps(bill(distributions(), status), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
