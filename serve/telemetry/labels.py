"""Labels of few values, however many tenants there are."""

from __future__ import annotations

TENANTS = 50
"""Tenants of a process that have a series of their own. A histogram has some fifteen for each."""

OTHER = "other"
"""The rest together."""


class Tenants:
    """Names of tenants as labels: the first that are met keep theirs, so that no series changes its meaning.

    Args:
        most: Names; every further tenant is `other`.
    """

    def __init__(self, most: int = TENANTS) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, tenant: str) -> str:
        """The tenant's name, or `other`."""
        if tenant not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(tenant)
        return tenant
