"""Validates objects strictly: Kubernetes' own by `kubernetes-validate`, Ray's and Prometheus' by their CRDs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jsonschema import Draft7Validator

from tests.infra.charts import Document, Missing

CRDS = Path(__file__).parent / "crds"
VERSIONS = ("1.32", "1.34")
UNCHECKED = {"SecretProviderClass", "LocalQueue"}  # whose CRDs are not at hand
CUSTOM = {"ray.io", "monitoring.coreos.com", "azmonitoring.coreos.com"}


class Schemas:
    """Verdicts are kept, because most objects of one set of values are those of another.

    Raises:
        Missing: kubernetes-validate is not here.
    """

    def __init__(self) -> None:
        try:
            import kubernetes_validate
        except ImportError as error:
            raise Missing("pip install kubernetes-validate==1.37.0") from error
        self._validate = kubernetes_validate.validate
        self._invalid = (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)
        self._custom = _crds()
        self._known: dict[str, list[str]] = {}

    def faults(self, document: Document) -> list[str]:
        """What is wrong with an object; empty where nothing is."""
        key = json.dumps(document, sort_keys=True)
        if key not in self._known:
            self._known[key] = list(self._faults(document))
        return self._known[key]

    def _faults(self, document: Document) -> Iterator[str]:
        name = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] in UNCHECKED:
            return
        if document["apiVersion"].split("/")[0] in CUSTOM:
            # Azure's operator serves Prometheus' kinds under a group of its own, with the same fields.
            version = document["apiVersion"].replace("azmonitoring", "monitoring")
            for fault in self._custom[version, document["kind"]].iter_errors({**document, "apiVersion": version}):
                yield f"{name}: {'/'.join(map(str, fault.path))}: {fault.message[:200]}"
            return
        for version in VERSIONS:
            try:
                self._validate(document, version, strict=True)
            except self._invalid as error:
                yield f"{name} in {version}: {str(error)[:300]}"


@cache
def _crds() -> dict[tuple[str, str], Draft7Validator]:
    """Validators by version and kind, of the schemas that `tests.infra.crds.make` wrote."""
    schemas = [json.loads(file.read_text()) for file in sorted(CRDS.glob("*.json"))]
    named = [(schema["properties"], Draft7Validator(schema)) for schema in schemas]
    return {(fields["apiVersion"]["const"], fields["kind"]["const"]): validator for fields, validator in named}
