"""The OpenAPI document of 0.1, as 7cb3f87 showed it, and today's: what was added is fine, what is taken back is not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serve.api.app import create_app
from serve.config import Settings
from serve.telemetry import ApiMetrics
from tests.compat.contract import ALIKE, AT_LEAST, AT_MOST, taken_back

RELEASED: dict[str, Any] = json.loads((Path(__file__).parent / "openapi.json").read_text())
Change = Callable[[dict[str, Any]], object]

STRUCTURE = ("$ref", "allOf", "anyOf", "oneOf", "type", "enum", "const", "properties", "required", "items", "default")
UNDERSTOOD = frozenset({*AT_MOST, *AT_LEAST, *ALIKE, *STRUCTURE, "additionalProperties"})
SAYS_NOTHING = frozenset({"title", "description", "examples", "example", "deprecated", "contentMediaType"})


@pytest.fixture(scope="module")
def today() -> dict[str, Any]:
    """Nothing that the api would need to answer is needed to say what it answers."""
    nothing: Any = None
    metrics = ApiMetrics(CollectorRegistry())
    return create_app(Settings(_env_file=None), nothing, nothing, nothing, nothing, metrics).openapi()


def test_today_takes_nothing_back(today: dict[str, Any]) -> None:
    assert taken_back(RELEASED, today) == []


@pytest.mark.parametrize("which", ["released", "today"])
def test_every_word_of_its_schemas_is_understood(today: dict[str, Any], which: str) -> None:
    """A keyword that the comparison does not look at could change unseen."""
    document = RELEASED if which == "released" else today
    used = {word for schema in schemas(document) for word in schema if not word.startswith("x-")}
    assert used - UNDERSTOOD - SAYS_NOTHING == set()


def schemas(part: Any, is_schema: bool = False) -> Iterator[dict[str, Any]]:
    """All schemas of a document."""
    if isinstance(part, list):
        for inner in part:
            yield from schemas(inner, is_schema)
    elif isinstance(part, dict):
        if is_schema:
            yield part
            for name in ("properties",):
                yield from schemas(list(part.get(name, {}).values()), True)
            for name in ("items", "additionalProperties", "anyOf", "oneOf", "allOf"):
                yield from schemas(part.get(name), True)
            return
        for name, inner in part.items():
            inside = list(inner.values()) if name == "schemas" else inner
            yield from schemas(inside, name in ("schema", "schemas"))


def at(document: dict[str, Any], *place: str) -> Any:
    found: Any = document
    for name in place:
        found = found[name]
    return found


def schema(name: str, *place: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, "components", "schemas", name, *place)


def path(*place: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: at(document, "paths", *place)


def without(where: Callable[[dict[str, Any]], Any], name: str) -> Change:
    return lambda document: where(document).pop(name)


def given(where: Callable[[dict[str, Any]], Any], **values: Any) -> Change:
    return lambda document: where(document).update(values)


def optional(where: Callable[[dict[str, Any]], Any], name: str) -> Change:
    return lambda document: where(document)["required"].remove(name)


def parameter(document: dict[str, Any], route: str, method: str, name: str) -> dict[str, Any]:
    (found,) = [p for p in document["paths"][route][method]["parameters"] if p["name"] == name]
    return found  # type: ignore[no-any-return]


def changed(*changes: Change) -> dict[str, Any]:
    document = copy.deepcopy(RELEASED)
    for change in changes:
        change(document)
    return document


REFERENCE = {"$ref": "#/components/schemas/Node"}
WANTED, JOB = schema("ImagesRequest"), schema("JobAnswer")
MANY = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 12}, {"type": "string"}, {"type": "null"}]}

TAKEN: dict[str, tuple[Change, str]] = {
    "a route": (without(path(), "/v1/usage"), "GET /v1/usage: is gone"),
    "a method": (without(path("/v1/jobs/{job_id}"), "delete"), "DELETE /v1/jobs/{job_id}: is gone"),
    "a status": (without(path("/v1/jobs", "post", "responses"), "202"), "POST /v1/jobs 202: is gone"),
    "a media type of an answer": (
        without(path("/v1/images", "post", "responses", "200", "content"), "image/png"),
        "POST /v1/images 200 image/png: is gone",
    ),
    "a media type of a request": (
        without(path("/v1/jobs", "post", "requestBody", "content"), "multipart/form-data"),
        "POST /v1/jobs body multipart/form-data: is gone",
    ),
    "a header of an answer": (
        without(path("/v1/jobs", "get", "responses", "429", "headers"), "Retry-After"),
        "GET /v1/jobs 429 header Retry-After: is gone",
    ),
    "a request's body": (without(path("/v1/keys", "post"), "requestBody"), "POST /v1/keys body: is gone"),
    "a request's field": (without(schema("ImagesRequest", "properties"), "seed"), "POST /v1/jobs body .seed: is gone"),
    "a parameter": (
        lambda document: document["paths"]["/v1/jobs"]["get"]["parameters"].pop(0),
        "GET /v1/jobs query state: is gone",
    ),
    "a new field that is required": (
        lambda document: (
            WANTED(document)["properties"].update(team={"type": "string"}),
            WANTED(document)["required"].append("team"),
        ),
        "POST /v1/images body .team: is required",
    ),
    "a field that is required now": (
        lambda document: WANTED(document)["required"].append("seed"),
        "POST /v1/images body .seed: is required",
    ),
    "a new parameter that is required": (
        lambda document: document["paths"]["/v1/jobs"]["get"]["parameters"].append(
            {"name": "team", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        "GET /v1/jobs query team: is new, and required",
    ),
    "a parameter that is required now": (
        lambda document: parameter(document, "/v1/jobs", "post", "Idempotency-Key").update(required=True),
        "POST /v1/jobs header Idempotency-Key: is required",
    ),
    "a body that is required now": (
        given(path("/v1/usage", "get"), requestBody={"required": True, "content": {}}),
        "GET /v1/usage body: is required",
    ),
    "a lower maximum": (
        given(schema("ControlRequest", "properties", "strength"), maximum=1.5),
        "POST /v1/images body .controls [] .strength: its maximum was 2, is 1.5",
    ),
    "a higher minimum": (
        given(schema("ControlRequest", "properties", "strength"), minimum=0.1),
        "POST /v1/images body .controls [] .strength: its minimum was 0, is 0.1",
    ),
    "a lower maximum beside several types": (
        given(schema("ImagesRequest", "properties", "n"), maximum=11),
        "POST /v1/images body .n: its maximum was 12, is 11",
    ),
    "a bound where there was none": (
        given(schema("MapRequest", "properties", "image"), maxLength=10),
        "POST /v1/controls/{type} body .image: its maxLength was None, is 10",
    ),
    "a pattern where there was none": (
        given(schema("ImagesRequest", "properties", "prompt"), pattern="^a"),
        "POST /v1/images body .prompt: its pattern was None, is ^a",
    ),
    "a request's value": (
        given(schema("ImagesRequest", "properties", "priority"), enum=["interactive"]),
        """POST /v1/images body .priority: its values were ['"interactive"', '"batch"'], are ['"interactive"']""",
    ),
    "values where all were taken": (
        given(schema("ControlRequest", "properties", "type"), enum=["canny"]),
        """POST /v1/images body .controls [] .type: its values were anything, are ['"canny"']""",
    ),
    "a request's type": (
        given(schema("ControlRequest", "properties", "strength"), type="integer"),
        "POST /v1/images body .controls [] .strength: its type was number, is integer",
    ),
    "one of a request's types": (
        lambda document: WANTED(document)["properties"]["seed"].update(anyOf=[{"type": "null"}]),
        "POST /v1/images body .seed: its type was integer | null, is null",
    ),
    "other fields": (
        given(schema("ControlRequest", "properties", "parameters"), additionalProperties=False),
        "POST /v1/images body .controls [] .parameters: takes no other fields",
    ),
    "a default": (
        given(schema("ImagesRequest", "properties", "priority"), default="batch"),
        "POST /v1/images body .priority: its default was 'interactive', is 'batch'",
    ),
    "a parameter's default": (
        lambda document: parameter(document, "/v1/jobs", "get", "limit")["schema"].update(default=20),
        "GET /v1/jobs query limit: its default was 50, is 20",
    ),
    "an answer's field": (
        without(schema("JobAnswer", "properties"), "kind"),
        "GET /v1/jobs/{job_id} 200 .kind: is gone",
    ),
    "an answer's field, deep down": (
        without(schema("ImageLink", "properties"), "url"),
        "GET /v1/jobs 200 .jobs [] .images [] .url: is gone",
    ),
    "an answer's field that may be absent now": (
        optional(JOB, "state"),
        "GET /v1/jobs/{job_id} 200 .state: may be absent",
    ),
    "an answer's type": (
        given(schema("JobAnswer", "properties", "attempt"), type="string"),
        "GET /v1/jobs/{job_id} 200 .attempt: its type was integer, is string",
    ),
    "an answer that may be null now": (
        lambda document: JOB(document)["properties"].update(state={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "GET /v1/jobs/{job_id} 200 .state: its type was string, is string | null",
    ),
    "an answer that may be a fraction now": (
        given(schema("JobAnswer", "properties", "n"), type="number"),
        "GET /v1/jobs/{job_id} 200 .n: its type was integer, is number",
    ),
    "an answer's format": (
        given(schema("JobAnswer", "properties", "created_at"), format="date-time"),
        "GET /v1/jobs/{job_id} 200 .created_at: its format was None, is date-time",
    ),
    "being let in without a key": (
        given(path("/healthz", "get"), security=[{"key": []}]),
        "GET /healthz: a way to say who asks is gone",
    ),
}

ADDED: dict[str, Change] = {
    "a route": given(path(), **{"/v1/maps": {"get": {"responses": {}}}}),
    "a method": given(path("/v1/usage"), head={"responses": {}}),
    "a status": given(path("/v1/usage", "get", "responses"), **{"304": {"description": ""}}),
    "a media type": given(path("/v1/images", "post", "responses", "200", "content"), **{"image/webp": {}}),
    "a header": given(path("/v1/jobs", "post", "responses", "202"), headers={"Location": {"schema": {}}}),
    "an optional field": given(schema("ImagesRequest", "properties"), eta={"type": "number", "default": 0.0}),
    "a request's value": given(schema("ControlRequest", "properties", "mode"), enum=["guess", "balanced", "strict"]),
    "a higher maximum": given(schema("ControlRequest", "properties", "strength"), maximum=3.0),
    "no maximum": without(schema("ControlRequest", "properties", "strength"), "maximum"),
    "one more type of a request": given(schema("ImagesRequest", "properties", "n"), **MANY),
    "fractions": given(schema("ImagesRequest", "properties", "n"), anyOf=[{"type": "number"}, {"type": "null"}]),
    "an answer's field": given(schema("JobAnswer", "properties"), links_v2={"type": "object"}),
    "an answer's value": given(schema("JobAnswer", "properties", "state"), enum=["queued", "waiting"]),
    "an answer that is always there": lambda document: JOB(document)["required"].append("trace_id"),
    "words": given(path("/v1/usage", "get"), description="Better.", summary="Other", operationId="usage"),
    "a schema's name": lambda document: document.update(json.loads(json.dumps(document).replace("JobAnswer", "AJob"))),
    "a name in a path": lambda document: document.update(
        json.loads(json.dumps(document).replace("{job_id}", "{id}").replace('"name": "job_id"', '"name": "id"'))
    ),
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_is_taken_back_is_said(what: str) -> None:
    change, expected = TAKEN[what]
    assert expected in taken_back(RELEASED, changed(change))


@pytest.mark.parametrize("what", ADDED)
def test_what_is_added_is_let_through(what: str) -> None:
    now = changed(ADDED[what])
    assert now != RELEASED
    assert taken_back(RELEASED, now) == []


def test_a_schema_that_holds_itself_is_compared_once() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [REFERENCE, {"type": "null"}]}, "name": {"type": "string"}},
    }
    answer = {"content": {"application/json": {"schema": REFERENCE}}}
    before = {"paths": {"/a": {"get": {"responses": {"200": answer}}}}, "components": {"schemas": {"Node": node}}}
    now = copy.deepcopy(before)
    assert taken_back(before, now) == []
    del now["components"]["schemas"]["Node"]["properties"]["name"]  # type: ignore[index]
    assert "GET /a 200 .name: is gone" in taken_back(before, now)
