"""The file that declares teams; Helm values carry the same.

    tenants:
      - name: studio
        weight: 2
        models: [controlnet-demo]        # absent: all
        limits: {requests_per_minute: 600, queued_jobs: 200, images_per_day: 10000, gflop_per_day: 5.0e+7,
                 max_pixels: 1048576, max_steps: 50, max_images: 8, retention_days: 7}

What is absent from `limits` is not limited, within the operator's settings. What is not understood is refused: a limit
that was misspelt would be none.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from serve.errors import OperatorError
from serve.findings import phrase
from serve.tenancy.tenants import NAME, Limits, Tenant

Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Count = Annotated[int, Field(ge=1)]


class DeclarationError(OperatorError, ValueError):
    """A file that declares nothing usable; names the file, and every place in it with the bound it broke."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class DeclaredLimits(_Part):
    """What a team may use at most; `tenants.Limits` says what each means."""

    requests_per_minute: Count | None = None
    queued_jobs: Count | None = None
    images_per_day: Count | None = None
    gflop_per_day: float | None = Field(None, gt=0)
    max_pixels: Count | None = None
    max_steps: Count | None = None
    max_images: Count | None = None
    retention_days: float | None = Field(None, gt=0, le=3650)


class DeclaredTenant(_Part):
    """A team."""

    name: Name
    weight: float = Field(1.0, gt=0, le=1000)
    models: list[Annotated[str, Field(min_length=1, max_length=255)]] | None = Field(None, min_length=1)
    limits: DeclaredLimits = DeclaredLimits()

    def tenant(self) -> Tenant:
        """As the platform knows it."""
        models = None if self.models is None else tuple(self.models)
        return Tenant(self.name, self.weight, Limits(**self.limits.model_dump(), models=models))


class Declaration(_Part):
    """All teams."""

    tenants: list[DeclaredTenant]


def read(file: Path) -> Sequence[Tenant]:
    """The teams that a file declares, in its order.

    Raises:
        DeclarationError: It can't be read, or something in it is not understood.
    """
    try:
        found = _Loader(file.read_text(encoding="utf-8")).get_single_data()
        declaration = Declaration.model_validate(found)
    except FileNotFoundError as error:
        raise DeclarationError(f"{file} is not there: write the teams into it, as docs/teams.md shows.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DeclarationError(f"{file}: {error}") from error
    except ValidationError as error:
        raise DeclarationError("\n".join(f"{file}: {_fault(fault, found)}" for fault in error.errors())) from error
    names = [tenant.name for tenant in declaration.tenants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DeclarationError(f"{file}: tenants: declared twice: {', '.join(twice)}")
    return [tenant.tenant() for tenant in declaration.tenants]


def _fault(fault: ErrorDetails, found: Any) -> str:  # noqa: ANN401
    """One fault, with its place in what was read and the team that it is about."""
    path = fault["loc"]
    if not path:
        return "the file: must be `tenants:` and a list of teams"
    words, team = phrase(fault), ""
    if len(path) > 2 and isinstance(found["tenants"][path[1]], dict) and path[-1] != "name":
        team = f" (team {found['tenants'][path[1]].get('name', 'without a name')})"
    if fault["type"] == "string_pattern_mismatch":
        words = "must be 1 to 63 of a-z, 0-9 and '-', the first and the last no '-'"
    if fault["type"] == "extra_forbidden":
        fields = {*Declaration.model_fields, *DeclaredTenant.model_fields, *DeclaredLimits.model_fields}
        near = difflib.get_close_matches(str(path[-1]), fields, 1)
        words += f": did you mean {near[0]}?" if near else ""
    return f"{'.'.join(map(str, path))}{team}: {words}"


class _Loader(yaml.SafeLoader):
    """Takes no key twice, where YAML's own reader would let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys differ."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # refused below
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
