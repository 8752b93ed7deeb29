"""Schemas of providers, without what `provider.py` does not read, a type of resource or data source a line.

    python -m tests.infra.terraform_offline.pack FOLDER

The folder holds `<provider>-<version>.json`: the provider's settings, its resources and its data sources, each an
object of attributes and blocks. They were read out of the bindings that `_meta` of each names, npm's
`@cdktf/provider-*`, under MPL-2.0, as these files are. azurerm's are those of 4.55.0, the last that was bound, and what
4.81.0 changed in the resources that infra/terraform uses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

READ = (
    "type",
    "required",
    "optional",
    "computed",
    "sensitive",
    "deprecated",
    "values",
    "nesting",
    "block",
    "max_items",
)

Fields = dict[str, dict[str, Any]]


def main(source: Path, target: Path) -> None:
    """Write the schemas of a folder to another."""
    for file in sorted(source.glob("*.json")):
        schema = json.loads(file.read_text())
        parts = [
            f'"_meta":{_compact(schema["_meta"])}',
            f'"provider":{_compact(packed(schema["provider"]))}',
            *(f'"{kind}":{{\n{_lines(schema[kind])}\n}}' for kind in ("resources", "data_sources")),
        ]
        (target / file.name).write_text("{" + ",\n".join(parts) + "}\n")


def packed(fields: Fields) -> Fields:
    """Attributes and blocks with only what is read of them, and only where it is said."""
    return {
        name: {key: field[key] for key in READ if field.get(key)}
        | ({"nested": packed(field["nested"])} if "nested" in field else {})
        for name, field in fields.items()
    }


def _lines(types: dict[str, Fields]) -> str:
    return ",\n".join(f'"{name}":{_compact(packed(fields))}' for name, fields in types.items())


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "schemas")
