"""Teams and keys on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from serve.tenancy.audit import Audit
from serve.tenancy.keys import Keys
from serve.tenancy.tenants import Tenant, Tenants
from tests.serve.jobs import conftest as jobs

# The databases are those of the store's tests.
clock, engine, folder = jobs.clock, jobs.engine, jobs.folder
database_url, postgres_database, sqlite_template = jobs.database_url, jobs.postgres_database, jobs.sqlite_template


@pytest.fixture
def tenants(engine: sa.Engine, clock: jobs.Clock) -> Tenants:
    """With the teams red and blue."""
    tenants = Tenants(engine, clock)
    tenants.apply([Tenant("red"), Tenant("blue")], "test")
    return tenants


@pytest.fixture
def keys(engine: sa.Engine, clock: jobs.Clock, tenants: Tenants) -> Keys:
    return Keys(engine, clock)


@pytest.fixture
def audit(engine: sa.Engine) -> Audit:
    return Audit(engine)


@pytest.fixture
def actions(audit: Audit) -> Callable[[str], list[str]]:
    """What was done to a team, the newest first."""

    def actions(tenant: str = "red") -> list[str]:
        return [entry.action for entry in audit.page(tenant, None, 100).entries]

    return actions
