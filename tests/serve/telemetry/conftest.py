"""A registry that a test looks into."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

Value = Callable[..., float | None]


@pytest.fixture
def collected() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def value(collected: CollectorRegistry) -> Value:
    """The value of a series; none where there is no such series."""

    def look(name: str, **labels: str) -> float | None:
        return collected.get_sample_value(name, labels)

    return look
