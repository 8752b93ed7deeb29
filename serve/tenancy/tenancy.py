"""Teams, keys, tokens and the audit log over one database, put together from the settings."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from serve.config import Settings
from serve.jobs.clock import clock_of
from serve.tenancy.audit import Audit
from serve.tenancy.gate import Gate
from serve.tenancy.jwks import Fetch, KeySet, fetch
from serve.tenancy.keys import Keys
from serve.tenancy.oidc import Issuer
from serve.tenancy.tenants import Tenants


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Who may use the platform."""

    tenants: Tenants
    keys: Keys
    audit: Audit
    gate: Gate

    @classmethod
    def over(
        cls,
        engine: sa.Engine,
        settings: Settings,
        clock: Callable[[], float] | None = None,
        fetch: Fetch = fetch,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Tenancy:
        """That of a database, as the settings have it.

        Args:
            engine: From `open_database`.
            settings: Name the issuer of tokens, if there is one.
            clock: Epoch seconds; the database's when absent, and the wall clock's for tokens, whose time is others'.
            fetch: Gets the issuer's documents.
            monotonic: Seconds that only grow.
        """
        shared = clock or clock_of(engine)
        tenants, keys = Tenants(engine, shared), Keys(engine, shared)
        issuer = None
        if settings.oidc_issuer is not None and settings.oidc_audience is not None:
            issuer = Issuer(
                settings.oidc_issuer,
                settings.oidc_audience,
                settings.oidc_tenant_claim,
                settings.oidc_role_claim,
                KeySet(settings.oidc_issuer, fetch, monotonic),
                clock or time.time,
            )
        return cls(tenants, keys, Audit(engine), Gate(keys, tenants, issuer, settings.anonymous))
