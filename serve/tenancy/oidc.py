"""Tokens of an OpenID Connect issuer (in production Entra ID): signature, issuer, audience, time, then team and role.

| claim | says |
|---|---|
| `CN_OIDC_TENANT_CLAIM` (`tenant`) | the team: a text, or a list of one |
| `CN_OIDC_ROLE_CLAIM` (`roles`) | `viewer`, `member` or `admin`: a text, or a list of which the most counts |

Where both name the same claim, its values are `<team>.<role>`, as app roles of Entra ID may be (`studio.member`); then
no claim has to be added to the issuer. Values that are no role are other programs' and are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from serve.errors import Forbidden, Unauthenticated
from serve.tenancy.jwks import ALGORITHMS, ALONE, KeySet
from serve.tenancy.principal import ROLES, Role

LARGEST = 16 << 10  # characters of a token; those of Entra ID have up to 12,000, with 200 groups
LONGEST_ID = 256
LEEWAY_S = 30  # that clocks may differ by

NOT_VALID = "The token is not valid."


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token is about.

    Attributes:
        subject: The issuer's name for them.
        tenant: As claimed; whether there is such a team is not looked at here.
    """

    subject: str
    tenant: str
    role: Role


class Issuer:
    """Checks the tokens of one issuer.

    Args:
        url: Of the issuer, exactly as tokens have it in `iss`.
        audience: Of tokens that are meant for this platform.
        tenant_claim: Where the team is.
        role_claim: Where the role is.
        keys: Those of the issuer.
        clock: Epoch seconds.
    """

    def __init__(
        self, url: str, audience: str, tenant_claim: str, role_claim: str, keys: KeySet, clock: Callable[[], float]
    ) -> None:
        self._url = url
        self._audience = audience
        self._tenant_claim = tenant_claim
        self._role_claim = role_claim
        self._keys = keys
        self._clock = clock

    async def bearer(self, token: str) -> Bearer:
        """Whom a token is about.

        Raises:
            Unauthenticated: It is not this issuer's, not for this platform, or its time is over.
            Forbidden: It is, and names no team or role.
            Overloaded: It can't be checked, because the issuer doesn't answer.
        """
        claims = await self._claims(token)
        tenant, role = belonging(claims, self._tenant_claim, self._role_claim)
        return Bearer(claims["sub"], tenant, role)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > LARGEST:
            raise Unauthenticated(NOT_VALID)
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthenticated(NOT_VALID) from None
        kid = header.get("kid", ALONE)
        if header.get("alg") not in ALGORITHMS or not isinstance(kid, str) or len(kid) > LONGEST_ID:
            raise Unauthenticated(NOT_VALID)
        key = await self._keys.key(kid)
        if key is None:
            raise Unauthenticated(NOT_VALID)
        try:
            # Time is checked below, by our own clock.
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._url,
                audience=self._audience,
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            raise Unauthenticated(NOT_VALID) from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_ID or not subject.isprintable():
            raise Unauthenticated(NOT_VALID)
        self._check_time(claims)
        return claims

    def _check_time(self, claims: Mapping[str, Any]) -> None:
        expires, begins = claims["exp"], claims.get("nbf", 0)
        if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in (expires, begins)):
            raise Unauthenticated(NOT_VALID)
        now = self._clock()
        if now >= expires + LEEWAY_S:
            raise Unauthenticated("The token has expired.")
        if now < begins - LEEWAY_S:
            raise Unauthenticated(NOT_VALID)


def belonging(claims: Mapping[str, Any], tenant_claim: str, role_claim: str) -> tuple[str, Role]:
    """The team and role that claims tell.

    Raises:
        Forbidden: None, or more than one team: which one is meant can't be said anywhere else.
    """
    values = _texts(claims.get(role_claim))
    if tenant_claim == role_claim:
        pairs = [(tenant, role) for tenant, dot, role in (value.rpartition(".") for value in values) if dot]
        tenants = {tenant for tenant, role in pairs if role in ROLES}
        values = [role for _, role in pairs]
    else:
        tenants = set(_texts(claims.get(tenant_claim)))
    roles = [role for role in ROLES if role in values]
    if len(tenants) != 1:
        raise Forbidden(f"The token names {'no team' if not tenants else 'more than one team'}.")
    if not roles:
        raise Forbidden("The token names no role.")
    return tenants.pop(), roles[-1]


def _texts(claim: object) -> Sequence[str]:
    if isinstance(claim, str):
        return [claim]
    return [value for value in claim if isinstance(value, str)] if isinstance(claim, list) else []
