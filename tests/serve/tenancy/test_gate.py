"""Tokens at the gate; keys are in tests/serve/api/test_access.py."""

from __future__ import annotations

from typing import Any

import pytest

from serve.errors import Forbidden, Overloaded, Unauthenticated
from serve.tenancy.gate import Gate
from serve.tenancy.jwks import KeySet
from serve.tenancy.oidc import Issuer
from serve.tenancy.principal import Principal
from serve.tenancy.tenants import Limits, Tenant
from tests.serve.tenancy.issuers import AUDIENCE, Signer


@pytest.fixture(scope="module")
def made() -> Signer:
    signer = Signer()
    signer.add("one")
    return signer


@pytest.fixture
def signer(made):
    signer = Signer()
    signer.private, signer.keys = made.private, made.keys
    return signer


@pytest.fixture
def gate(keys, tenants, signer, clock):
    return Gate(
        keys, tenants, Issuer(signer.url, AUDIENCE, "tenant", "roles", KeySet(signer.url, signer.fetch, clock), clock)
    )


@pytest.fixture
def token(signer, clock):
    def token(**claims: Any) -> list[str]:
        about = {
            "iss": signer.url,
            "aud": AUDIENCE,
            "exp": clock() + 60,
            "sub": "eve",
            "tenant": "red",
            "roles": "admin",
        }
        return [f"Bearer {signer.sign(about | claims)}"]

    return token


async def test_a_token_and_a_key_open_the_same_gate(gate, token, keys, tenants):
    tenants.apply([Tenant("red", 2.0, Limits(max_steps=9))], "test")
    by_token = await gate.admit(token())
    assert by_token == Principal("red", "admin", "token:eve", Limits(max_steps=9))
    new = keys.create("red", "admin", "n", "test")
    by_key = await gate.admit([f"Bearer {new.text}"])
    assert by_key == Principal("red", "admin", f"key:{new.key.id}", Limits(max_steps=9))


@pytest.mark.parametrize("claimed", ["green", "Red", "red\0", "", "../red"])
async def test_a_team_that_is_claimed_and_not_declared_may_not_come_in(gate, token, claimed):
    with pytest.raises(Forbidden, match="Your team is not declared here"):
        await gate.admit(token(tenant=claimed))


async def test_nor_one_that_was_removed(gate, token, tenants):
    tenants.apply([], "test", prune=True)
    with pytest.raises(Forbidden):
        await gate.admit(token())


async def test_an_issuer_that_is_down_stops_no_key(gate, token, keys, signer):
    signer.down = True
    with pytest.raises(Overloaded):
        await gate.admit(token())
    assert (await gate.admit([f"Bearer {keys.create('red', 'viewer', 'n', 'test').text}"])).role == "viewer"


async def test_where_no_issuer_is_named_no_token_is_good(keys, tenants, token):
    with pytest.raises(Unauthenticated, match="not valid"):
        await Gate(keys, tenants).admit(token())
