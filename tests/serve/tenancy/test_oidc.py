from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from serve.errors import Forbidden, Overloaded, Unauthenticated
from serve.tenancy.jwks import KeySet, fetch
from serve.tenancy.oidc import LARGEST, LEEWAY_S, Bearer, Issuer, belonging
from tests.serve.jobs.conftest import Clock
from tests.serve.tenancy.issuers import AUDIENCE, Signer, running, token_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def made() -> Signer:
    signer = Signer()
    signer.add("one")
    signer.add("curve", "EC")
    return signer


@pytest.fixture
def signer(made: Signer) -> Signer:
    signer = Signer()
    signer.private, signer.keys = dict(made.private), list(made.keys)
    return signer


@pytest.fixture
def issuer(signer: Signer, clock: Clock) -> Issuer:
    keys = KeySet(signer.url, signer.fetch, clock)
    return Issuer(signer.url, AUDIENCE, "tenant", "roles", keys, clock)


@pytest.fixture
def claims(clock: Clock) -> dict[str, Any]:
    now = int(clock())
    who = {"sub": "eve", "tenant": "red", "roles": ["member"]}
    return {"iss": Signer.url, "aud": AUDIENCE, "exp": now + 60, "nbf": now, "iat": now, **who}


async def refused(issuer: Issuer, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await issuer.bearer(token)
    return caught.value.detail


async def test_team_and_role_come_from_the_claims(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    assert await issuer.bearer(signer.sign(claims)) == Bearer("eve", "red", "member")


async def test_an_elliptic_curve_signs_too(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    assert (await issuer.bearer(signer.sign(claims, "curve", "ES256"))).tenant == "red"


async def test_one_audience_of_several_is_enough(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    assert (await issuer.bearer(signer.sign(claims | {"aud": ["other", AUDIENCE]}))).tenant == "red"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://issuer.test/v2.0/"},
        {"iss": "https://evil.test"},
        {"iss": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": None},
        {"sub": ""},
        {"sub": None},
        {"sub": "x" * 257},
        {"sub": "a\0b"},
        {"exp": None},
        {"exp": True},
        {"nbf": "soon"},
    ],
)
async def test_claims_that_are_wrong_or_not_there(
    issuer: Issuer, signer: Signer, claims: dict[str, Any], change: dict[str, Any]
) -> None:
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    assert await refused(issuer, signer.sign(changed)) == "The token is not valid."


async def test_time_has_a_small_leeway(issuer: Issuer, signer: Signer, claims: dict[str, Any], clock: Clock) -> None:
    clock.advance(60 + LEEWAY_S - 1)
    token = signer.sign(claims)
    assert (await issuer.bearer(token)).subject == "eve"
    clock.advance(1)
    assert await refused(issuer, token) == "The token has expired."


async def test_a_token_of_the_future_is_not_valid_yet(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    late = signer.sign(claims | {"nbf": claims["nbf"] + LEEWAY_S + 1})
    assert await refused(issuer, late) == "The token is not valid."
    assert (await issuer.bearer(signer.sign(claims | {"nbf": claims["nbf"] + LEEWAY_S}))).tenant == "red"


async def test_an_expired_token_that_is_forged_is_told_nothing(
    issuer: Issuer, signer: Signer, claims: dict[str, Any], clock: Clock
) -> None:
    head, body, mac = signer.sign(claims | {"exp": 5}).split(".")
    assert await refused(issuer, f"{head}.{body}.{mac[::-1]}") == "The token is not valid."


async def test_no_other_algorithm_is_taken(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    public = json.dumps(signer.keys[0]["n"])
    forged = [
        jwt.encode(claims, None, "none", headers={"kid": "one"}),
        jwt.encode(claims, public, "HS256", headers={"kid": "one"}),  # signed with what everybody knows
        signer.sign(claims, alg="RS512"),
        signer.sign(claims, alg="PS256"),
    ]
    for token in forged:
        await refused(issuer, token)


async def test_a_header_can_not_bring_its_own_key(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    stranger = Signer()
    stranger.add("one")
    token = stranger.sign(claims, jwk=stranger.keys[0], jku="https://evil.test/keys", x5u="https://evil.test/x")
    await refused(issuer, token)
    assert not [url for url in signer.fetched if "evil" in url]


async def test_a_key_of_another_kind_does_not_fit(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    await refused(issuer, signer.sign(claims, kid="curve"))


@pytest.mark.parametrize("kid", [None, 7, "x" * 257, "stranger"])  # None is none: the issuer has two keys
async def test_an_id_of_no_key(issuer: Issuer, signer: Signer, claims: dict[str, Any], kid: object) -> None:
    token = signer.sign(claims)
    header = {"alg": "RS256", "kid": kid} if kid is not None else {"alg": "RS256"}
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    await refused(issuer, ".".join([text, *token.split(".")[1:]]))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "e30.e30.", "\u00e9.\u00e9.\u00e9", "bnVsbA.e30.e30"])
async def test_what_is_no_token(issuer: Issuer, signer: Signer, token: str) -> None:
    await refused(issuer, token)
    assert signer.fetched == []


async def test_a_long_token_is_not_looked_at(issuer: Issuer, signer: Signer, claims: dict[str, Any]) -> None:
    await refused(issuer, signer.sign(claims | {"groups": ["x" * LARGEST]}))
    assert signer.fetched == []


async def test_an_issuer_that_does_not_answer_is_nobodys_fault(
    issuer: Issuer, signer: Signer, claims: dict[str, Any]
) -> None:
    signer.down = True
    with pytest.raises(Overloaded):
        await issuer.bearer(signer.sign(claims))


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({"t": "red", "r": "viewer"}, ("red", "viewer")),
        ({"t": ["red"], "r": ["viewer", "admin", "member"]}, ("red", "admin")),
        ({"t": "red", "r": ["Payroll.Read", "viewer"]}, ("red", "viewer")),
    ],
)
def test_two_claims_tell_team_and_role(claims: dict[str, Any], found: tuple[str, str]) -> None:
    assert belonging(claims, "t", "r") == found


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        (["studio.member"], ("studio", "member")),
        (["studio.viewer", "studio.admin", "Payroll.Read", "admin"], ("studio", "admin")),
        ("studio-2.viewer", ("studio-2", "viewer")),
    ],
)
def test_or_one_tells_both(roles: Any, found: tuple[str, str]) -> None:
    assert belonging({"roles": roles}, "roles", "roles") == found


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"r": "member"}, ("t", "r")),
        ({"t": [], "r": "member"}, ("t", "r")),
        ({"t": ["red", "blue"], "r": "member"}, ("t", "r")),
        ({"t": {"red": 1}, "r": "member"}, ("t", "r")),
        ({"t": "red"}, ("t", "r")),
        ({"t": "red", "r": ["root", 7, None]}, ("t", "r")),
        ({"t": "red", "r": "Admin"}, ("t", "r")),
        ({"r": ["red.member", "blue.viewer"]}, ("r", "r")),
        ({"r": ["red.root"]}, ("r", "r")),
        ({"r": ["member"]}, ("r", "r")),
    ],
)
def test_who_has_no_team_or_role_may_not_come_in(claims: dict[str, Any], names: tuple[str, str]) -> None:
    with pytest.raises(Forbidden):
        belonging(claims, *names)


# An issuer that we did not write, on loopback.


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with running() as url:
        yield url


def over(url: str) -> Issuer:
    return Issuer(url, AUDIENCE, "tenant", "roles", KeySet(url, fetch, time.time), time.time)


async def test_a_person_who_signed_in_is_known(provider: str) -> None:
    token = token_of(provider, "eve", tenant="red", roles=["viewer", "member"])
    assert await over(provider).bearer(token) == Bearer("eve", "red", "member")


async def test_one_issuers_token_is_not_anothers(provider: str) -> None:
    with running() as theirs:
        token = token_of(theirs, "eve", tenant="red", roles=["admin"])
    await refused(over(provider), token)


async def test_a_token_that_was_changed_on_its_way_is_refused(provider: str) -> None:
    head, body, mac = token_of(provider, "eve", tenant="red", roles=["viewer"]).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(json.dumps(claims | {"roles": ["admin"]}).encode()).decode().rstrip("=")
    await refused(over(provider), f"{head}.{changed}.{mac}")
