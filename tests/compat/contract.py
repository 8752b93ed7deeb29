"""What an OpenAPI document takes back of an earlier one: what a program written for the earlier one may stumble over.

Of requests: a place to send them, a field, a value or a width of bounds that is gone, something that is required now, a
default that is another. Of answers: a status, media type, header or field that is gone, is there only sometimes, or has
another type. Enums of answers are open, so values that they gain are additions (`docs/api-versions.md`).

References are followed and compared by what they lead to: names of schemas and of parts of a path may change. JSON
Schema is read as far as this API uses it; `test_contract` fails where it begins to use more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Schema = Mapping[str, Any]
Way = Literal["in", "out"]

METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
AT_MOST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
AT_LEAST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
ALIKE = ("pattern", "format", "multipleOf", "uniqueItems")
ANYTHING = "anything"


def taken_back(before: Schema, now: Schema) -> list[str]:
    """Each thing that `before` promised and `now` does not, by its place. None if all that changed is additions."""
    return list(dict.fromkeys(_Comparison(before, now).paths()))


@dataclass
class _Comparison:
    before: Schema
    now: Schema
    under_way: set[tuple[int, int, Way]] = field(default_factory=set)
    equal: set[Any] = field(default_factory=set)

    def paths(self) -> Iterator[str]:
        ours, theirs = _by_template(self.before), _by_template(self.now)
        for template, (path, operations) in ours.items():
            for method in sorted(METHODS & set(operations)):
                place = f"{method.upper()} {path}"
                there = theirs.get(template, (path, {}))
                if method not in there[1]:
                    yield f"{place}: is gone"
                    continue
                yield from self.operation(place, operations[method], there[1][method], _names(path), _names(there[0]))

    def operation(self, place: str, a: Schema, b: Schema, a_path: list[str], b_path: list[str]) -> Iterator[str]:
        both = ((self.before, a), (self.now, b))
        ways = [{_credential(document, way) for way in said.get("security", ({},))} for document, said in both]
        if not ways[0] <= ways[1]:
            yield f"{place}: a way to say who asks is gone"
        had, has = _parameters(self.before, a, a_path), _parameters(self.now, b, b_path)
        for key, parameter in had.items():
            where = f"{place} {key[0]} {parameter['name']}"
            if key not in has:
                yield f"{where}: is gone"
                continue
            if has[key].get("required") and not parameter.get("required"):
                yield f"{where}: is required"
            yield from self.schema(where, parameter["schema"], has[key]["schema"], "in")
        for key in has.keys() - had.keys():
            if has[key].get("required"):
                yield f"{place} {key[0]} {has[key]['name']}: is new, and required"
        yield from self.body(f"{place} body", a.get("requestBody"), b.get("requestBody"))
        for status, answer in a["responses"].items():
            if status not in b["responses"]:
                yield f"{place} {status}: is gone"
                continue
            here, there = _resolved(self.before, answer), _resolved(self.now, b["responses"][status])
            yield from self.content(f"{place} {status}", here, there, "out")
            headers = {name.lower(): header for name, header in there.get("headers", {}).items()}
            for name, header in here.get("headers", {}).items():
                where = f"{place} {status} header {name}"
                if name.lower() not in headers:
                    yield f"{where}: is gone"
                else:
                    yield from self.schema(where, header["schema"], headers[name.lower()]["schema"], "out")

    def body(self, place: str, a: Schema | None, b: Schema | None) -> Iterator[str]:
        a, b = _resolved(self.before, a or {}), _resolved(self.now, b or {})
        if a and not b:
            yield f"{place}: is gone"
            return
        if b.get("required") and not a.get("required"):
            yield f"{place}: is required"
        yield from self.content(place, a, b, "in")

    def content(self, place: str, a: Schema, b: Schema, way: Way) -> Iterator[str]:
        for media, said in a.get("content", {}).items():
            if media not in b.get("content", {}):
                yield f"{place} {media}: is gone"
            else:
                yield from self.schema(place, said.get("schema", {}), b["content"][media].get("schema", {}), way)

    def schema(self, place: str, a: Schema, b: Schema, way: Way) -> Iterator[str]:
        names = (a.get("$ref"), b.get("$ref"), way) if len(a) == len(b) == 1 else None
        pair = (id(a), id(b), way)
        if pair in self.under_way or names in self.equal:  # it holds itself, or is there once more
            return
        self.under_way.add(pair)
        found = list(self.whole(place, _whole(self.before, a), _whole(self.now, b), way))
        self.under_way.discard(pair)
        if not found and names and names[0] and names[1]:
            self.equal.add(names)
        yield from found

    def whole(self, place: str, a: Schema, b: Schema, way: Way) -> Iterator[str]:
        if way == "in" and a.get("default") != b.get("default"):
            yield f"{place}: its default was {a.get('default')!r}, is {b.get('default')!r}"
        ours, theirs = _alternatives(self.before, a), _alternatives(self.now, b)
        # Every one that could be sent can be sent; every one that comes could come.
        needed, offered = (ours, theirs) if way == "in" else (theirs, ours)
        for one in needed:
            fitting = [other for other in offered if _fits(one, other)]
            if not fitting:
                kinds = [" | ".join(map(_kind, alternatives)) for alternatives in (ours, theirs)]
                yield f"{place}: its type was {kinds[0]}, is {kinds[1]}"
                break
            pairs = [(one, other) if way == "in" else (other, one) for other in fitting]
            yield from min((list(self.alternative(place, *pair, way)) for pair in pairs), key=len)

    def alternative(self, place: str, a: Schema, b: Schema, way: Way) -> Iterator[str]:
        if way == "in":
            yield from _narrowed(place, a, b)
        elif a.get("format") != b.get("format"):
            yield f"{place}: its format was {a.get('format')}, is {b.get('format')}"
        required = set(a["required"]), set(b["required"])
        for name, said in a["properties"].items():
            where = f"{place} .{name}"
            if name not in b["properties"]:
                yield f"{where}: is gone"
                continue
            if way == "out" and name in required[0] - required[1]:
                yield f"{where}: may be absent"
            yield from self.schema(where, said, b["properties"][name], way)
        if way == "in":
            yield from (f"{place} .{name}: is required" for name in sorted(required[1] - required[0]))
        if "items" in a or "items" in b:
            yield from self.schema(f"{place} []", a.get("items", {}), b.get("items", {}), way)
        extra = [schema.get("additionalProperties", True) for schema in (a, b)]
        if way == "in" and extra[0] is not False and extra[1] is False:
            yield f"{place}: takes no other fields"
        elif all(isinstance(more, Mapping) for more in extra):
            yield from self.schema(f"{place} .*", extra[0], extra[1], way)


def _narrowed(place: str, a: Schema, b: Schema) -> Iterator[str]:
    """Where a request's bounds are closer."""
    values = [_values(schema) for schema in (a, b)]
    if values[1] is not None and (values[0] is None or not set(values[0]) <= set(values[1])):
        yield f"{place}: its values were {values[0] or ANYTHING}, are {values[1]}"
    for name in (*AT_MOST, *AT_LEAST, *ALIKE):
        had, has = a.get(name), b.get(name)
        closer = (
            has != had if name in ALIKE or had is None or has is None else has < had if name in AT_MOST else has > had
        )
        if has is not None and closer:
            yield f"{place}: its {name} was {had}, is {has}"


def _values(schema: Schema) -> list[str] | None:
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    return None if found is None else [json.dumps(value) for value in found]


def _fits(one: Schema, other: Schema) -> bool:
    """Whether what `one` takes is of a type that `other` has."""
    kinds = _kind(one), _kind(other)
    return kinds[0] == kinds[1] or kinds[1] == ANYTHING or kinds == ("integer", "number")


def _kind(schema: Schema) -> str:
    kind: str = schema.get("type", "object" if schema["properties"] else ANYTHING)
    return kind


def _alternatives(document: Schema, schema: Schema) -> Sequence[Schema]:
    """The schemas of one type each, any of which a value may fit."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        of_all = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
        return [one for choice in choices for one in _alternatives(document, of_all | _whole(document, choice))]
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else [schema]


def _whole(document: Schema, schema: Schema) -> Schema:
    """A schema with what it refers to, and what it is all of, in it."""
    parts = [_whole(document, part) for part in schema.get("allOf", ())]
    if "$ref" in schema:
        parts.append(_whole(document, _resolved(document, schema)))
    found: dict[str, Any] = {"properties": {}, "required": []}
    for part in [*parts, {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}]:
        properties = found["properties"] | part.get("properties", {})
        found |= {**part, "properties": properties, "required": [*found["required"], *part.get("required", ())]}
    return found


def _resolved(document: Schema, part: Schema) -> Schema:
    found: Any = part
    while "$ref" in found:
        place, found = found["$ref"].removeprefix("#/").split("/"), document
        for name in place:
            found = found[name]
    return found  # type: ignore[no-any-return]


def _by_template(document: Schema) -> dict[str, tuple[str, Schema]]:
    return {re.sub(r"\{.*?\}", "{}", path): (path, operations) for path, operations in document["paths"].items()}


def _names(path: str) -> list[str]:
    return re.findall(r"\{(.*?)\}", path)


def _parameters(document: Schema, operation: Schema, path: list[str]) -> dict[tuple[str, str], Schema]:
    """By where they are and their name there, which for a part of the path is its number."""
    found = {}
    for parameter in (_resolved(document, one) for one in operation.get("parameters", ())):
        where, name = parameter["in"], parameter["name"]
        key = str(path.index(name)) if where == "path" else name.lower() if where == "header" else name
        found[where, key] = parameter
    return found


def _credential(document: Schema, way: Schema) -> frozenset[str]:
    schemes = document.get("components", {}).get("securitySchemes", {})
    kept = ("type", "scheme", "in", "name", "openIdConnectUrl")
    return frozenset(json.dumps({key: schemes[name].get(key) for key in kept}) for name in way)
