"""Schemas of custom resources, made from CRDs as their operators publish them.

    python -m tests.infra.crds.make FOLDER

The folder holds them, all under Apache-2.0: RayCluster and RayService of KubeRay 1.7.0
(`ray-operator/config/crd/bases`), PodMonitor, PrometheusRule and ServiceMonitor of prometheus-operator 0.93.0
(`example/prometheus-operator-crd`). Of each the stored version is written beside this script, as a JSON Schema:

- A field that the CRD does not know is a fault, except where it says that such fields are kept.
- A number or text (`x-kubernetes-int-or-string`) and a `nullable` are written as JSON Schema has them.
- `apiVersion` and `kind` are fixed. `metadata` is not looked at.
- Keywords that a validator passes over are left out: descriptions, defaults, formats, how lists merge, CEL rules.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

KEPT = ("required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
WRITTEN = {
    "additionalProperties",
    "anyOf",
    "items",
    "nullable",
    "properties",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields",
}
PASSED_OVER = {
    "default",
    "description",
    "format",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
}

Node = dict[str, Any]


def main(source: Path, target: Path) -> None:
    """Write a schema for each CRD of a folder."""
    for file in sorted(source.glob("*.yaml")):
        crd = yaml.safe_load(file.read_text())["spec"]
        [stored] = [version for version in crd["versions"] if version["storage"]]
        name, kind = f"{crd['group']}/{stored['name']}", crd["names"]["kind"]
        schema = strict(stored["schema"]["openAPIV3Schema"])
        schema["properties"] |= {"apiVersion": {"const": name}, "kind": {"const": kind}, "metadata": {"type": "object"}}
        text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
        (target / f"{name.replace('/', '_')}_{kind}.json").write_text(text + "\n")


def strict(node: Node) -> Node:
    """A node of a CRD's schema as JSON Schema that knows no other fields.

    Raises:
        ValueError: It has a keyword that is neither written nor known to be of no account.
    """
    if unknown := node.keys() - KEPT - WRITTEN - PASSED_OVER:
        raise ValueError(f"keywords {sorted(unknown)} of a CRD are not known: write them, or pass them over")
    made = {key: node[key] for key in KEPT if key in node}
    if "properties" in node:
        made["properties"] = {name: strict(each) for name, each in node["properties"].items()}
    if "items" in node:
        made["items"] = strict(node["items"])
    if "additionalProperties" in node:
        made["additionalProperties"] = strict(node["additionalProperties"])
    elif "properties" in node and not node.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    if node.get("x-kubernetes-int-or-string"):
        return made | {"type": ["integer", "string"]}
    if "anyOf" in node:
        made["anyOf"] = [strict(each) for each in node["anyOf"]]
    if "type" in node:
        made["type"] = [node["type"], "null"] if node.get("nullable") else node["type"]
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent)
