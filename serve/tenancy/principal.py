"""Who asks, as far as a credential proves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from serve.tenancy.tenants import Limits

Role = Literal["viewer", "member", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From the least to the most. A viewer reads; a member makes and cancels jobs besides; an admin looks after the keys of
its own team besides, and reads what was done to them."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        tenant: The team. It comes from here and from nowhere else in a request.
        actor: What the audit log calls it: `key:<id>`, `token:<subject>`, `anonymous`.
        limits: Of the team.
    """

    tenant: str
    role: Role
    actor: str
    limits: Limits

    def may(self, needed: Role) -> bool:
        """Whether its role is `needed`, or more."""
        return ROLES.index(self.role) >= ROLES.index(needed)
