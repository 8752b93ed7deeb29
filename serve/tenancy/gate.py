"""From the Authorization header to who asks. The header is the only thing of a request that says so."""

from __future__ import annotations

import re
from collections.abc import Sequence

from anyio import to_thread

from serve.errors import Forbidden, Unauthenticated
from serve.tenancy.keys import KEY, PREFIX, Keys
from serve.tenancy.oidc import Issuer
from serve.tenancy.principal import Principal, Role
from serve.tenancy.tenants import Tenants

_BEARER = re.compile(r"bearer +(?P<credential>[A-Za-z0-9._~+/=-]+)", re.IGNORECASE | re.ASCII)

MISSING = "Send a key or a token: `Authorization: Bearer cn_...`."
MALFORMED = "The Authorization header is not `Bearer` and a key or a token, once."
NOT_VALID = "The key is not valid."
"""Of keys that are unknown, revoked, or of a team that is gone: which of these, it doesn't tell."""


class Gate:
    """Lets in who proves who they are.

    Args:
        keys: Of the database.
        tenants: Likewise.
        issuer: Of tokens; without one only keys are taken.
        anonymous: The team of requests without a credential, for development; none in all earnest.
    """

    def __init__(
        self, keys: Keys, tenants: Tenants, issuer: Issuer | None = None, anonymous: str | None = None
    ) -> None:
        self._keys = keys
        self._tenants = tenants
        self._issuer = issuer
        self._anonymous = anonymous

    async def admit(self, headers: Sequence[str]) -> Principal:
        """Who asks.

        Args:
            headers: The values of the request's Authorization headers.

        Raises:
            Unauthenticated: Nobody who is known.
            Forbidden: Somebody whose team is not declared here.
            Overloaded: A token can't be checked now.
            StoreUnavailable: A key can't.
        """
        if not headers:
            if self._anonymous is None:
                raise Unauthenticated(MISSING)
            return await self._member(self._anonymous, "member", "anonymous")
        match = _BEARER.fullmatch(headers[0])
        if match is None or len(headers) > 1:
            raise Unauthenticated(MALFORMED)
        credential = match["credential"]
        if credential.startswith(PREFIX):
            return await self._by_key(credential)
        if self._issuer is None or credential.count(".") != 2:
            raise Unauthenticated(MALFORMED if self._issuer is not None else NOT_VALID)
        bearer = await self._issuer.bearer(credential)
        return await self._member(bearer.tenant, bearer.role, f"token:{bearer.subject}")

    async def _by_key(self, text: str) -> Principal:
        if not KEY.fullmatch(text):
            raise Unauthenticated(NOT_VALID)  # without the database
        holder = await to_thread.run_sync(self._keys.holder, text)
        if holder is None:
            raise Unauthenticated(NOT_VALID)
        if holder.expired:
            raise Unauthenticated("The key has expired.")  # whoever is told this showed its secret
        return holder.principal

    async def _member(self, name: str, role: Role, actor: str) -> Principal:
        tenant = await to_thread.run_sync(self._tenants.get, name)
        if tenant is None:
            raise Forbidden("Your team is not declared here.")
        return Principal(tenant.name, role, actor, tenant.limits)
