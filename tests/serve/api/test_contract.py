"""The OpenAPI document, held to its word: what it lets one send is understood, what it does not say is not answered.

Schemathesis reads the document that the running service shows, sends what fits it and what does not, follows its links
from one request to the next, and compares every answer with what the document says of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from obstore.store import MemoryStore
from prometheus_client import CollectorRegistry
from schemathesis import Case
from schemathesis.specs.openapi.checks import use_after_free

from serve.api.app import create_app
from serve.config import Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import soft
from serve.jobs.schema import metadata
from serve.jobs.signals import SqliteSignals
from serve.jobs.store import READY, JobStore, ServedModel
from serve.telemetry import ApiMetrics
from serve.tenancy.tenancy import Tenancy
from tests.serve.api.conftest import Worker, bearer, new_key
from tests.serve.api.live import Live

HEADERS: dict[str, str] = {}
"""With every request: the key of an admin, made with the service."""

EXCLUDED = [use_after_free]
"""To DELETE a job is to cancel it: where it stood can be seen afterwards, and is to be."""

BOUNDED = settings(
    max_examples=20,
    stateful_step_count=6,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def service(database: sa.Engine, model: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The api, a store, and a worker that ends jobs."""
    store, artifacts, signals = JobStore(database), ArtifactStore(MemoryStore()), SqliteSignals(database)
    store.set_serving(model)
    assert store.take_lock(READY, "dispatcher", 3600)
    given = Settings(data_dir=tmp_path_factory.mktemp("contract"), max_pixels_out=128 * 128, _env_file=None)
    tenancy = Tenancy.over(database, given)
    HEADERS.update(bearer(new_key(tenancy, role="admin")))
    app = create_app(given, store, tenancy, artifacts, signals, ApiMetrics(CollectorRegistry()))
    with Live(app, beside=Worker(store, artifacts, signals).run) as live:
        yield live
    with soft(database).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


def _document() -> dict[str, Any]:
    """What the service shows; nothing that it would need to answer is needed to say what it answers."""
    nothing: Any = None
    metrics = ApiMetrics(CollectorRegistry())
    return create_app(Settings(_env_file=None), nothing, nothing, nothing, nothing, metrics).openapi()


schema = schemathesis.openapi.from_dict(_document())
# A key is always sent, so a document's word that it is required is not for this test to break: `test_access` does.
schema.config.generation.update(with_security_parameters=False)
# What fits the document may still be refused where bounds depend on each other, on the model, or on what a picture
# holds; JSON Schema has no words for that. The error names the field.
schema.config.checks.positive_data_acceptance.expected_statuses += ["406", "415", "422"]


@schema.parametrize()
@BOUNDED
def test_answers_are_those_documented(case: Case, service: Live) -> None:
    case.call_and_validate(base_url=service.url, headers=HEADERS, excluded_checks=EXCLUDED)


def test_what_one_answer_leads_to_is_as_documented(service: Live) -> None:
    # Without keys: a machine that has revoked its own can't be run again, as hypothesis wants to.
    class Machine(schema.exclude(path_regex="^/v1/keys").as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"base_url": service.url, "headers": HEADERS}

        def validate_response(self, response: Any, case: Case, additional_checks: Any = (), **rest: Any) -> None:
            case.validate_response(response, headers=HEADERS, excluded_checks=EXCLUDED)

    run_state_machine_as_test(Machine, settings=BOUNDED)  # type: ignore[no-untyped-call]
