"""Tenants as labels."""

from __future__ import annotations

from serve.telemetry import OTHER, Tenants


def test_the_first_keep_their_names_and_the_rest_have_one() -> None:
    tenants = Tenants(2)
    assert [tenants.label(name) for name in ("red", "blue", "green", "red")] == ["red", "blue", OTHER, "red"]
