from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serve.errors import Overloaded
from serve.tenancy.jwks import ALONE, FETCH_EVERY_S, LARGEST, OLDEST_S, YOUNG_S, KeySet, fetch, is_safe
from tests.serve.jobs.conftest import Clock
from tests.serve.tenancy.issuers import Signer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def made() -> Signer:
    """Keys take a while to make."""
    made = Signer()
    for kid, kind in (("one", "RSA"), ("two", "RSA"), ("curve", "EC"), ("short", "short")):
        made.add(kid, kind)
    return made


@pytest.fixture
def signer(made: Signer) -> Signer:
    """Publishes the key `one`."""
    signer = Signer()
    signer.private, signer.keys = made.private, [key for key in made.keys if key["kid"] == "one"]
    return signer


@pytest.fixture
def keys(signer: Signer, clock: Clock) -> KeySet:
    return KeySet(signer.url, signer.fetch, clock)


def published(made: Signer, kid: str) -> dict[str, str]:
    (found,) = (key for key in made.keys if key["kid"] == kid)
    return dict(found)


async def test_keys_are_found_by_discovery_and_kept(keys: KeySet, signer: Signer) -> None:
    for _ in range(3):
        key = await keys.key("one")
        assert key is not None
        assert key.key_id == "one"
    assert signer.fetched == [f"{signer.url}/.well-known/openid-configuration", "https://issuer.test/keys"]


async def test_many_who_ask_at_once_cause_one_fetch(keys: KeySet, signer: Signer) -> None:
    await asyncio.gather(*(keys.key("one") for _ in range(20)))
    assert len(signer.fetched) == 2


async def test_a_new_key_of_the_issuer_is_found_when_it_is_used(
    keys: KeySet, signer: Signer, made: Signer, clock: Clock
) -> None:
    await keys.key("one")
    signer.keys = [published(made, "two")]
    clock.advance(FETCH_EVERY_S)
    assert await keys.key("two") is not None
    assert await keys.key("one") is None  # it was withdrawn


async def test_unknown_ids_cause_one_fetch_in_a_while_however_many_they_are(
    keys: KeySet, signer: Signer, clock: Clock
) -> None:
    await keys.key("one")
    for number in range(1000):
        assert await keys.key(f"stranger-{number}") is None
    assert len(signer.fetched) == 2
    clock.advance(FETCH_EVERY_S)
    for number in range(1000):
        assert await keys.key(f"stranger-{number}") is None
    assert len(signer.fetched) == 4


async def test_a_key_that_was_withdrawn_is_forgotten_when_the_set_is_old(
    keys: KeySet, signer: Signer, made: Signer, clock: Clock
) -> None:
    await keys.key("one")
    signer.keys = [published(made, "two")]
    clock.advance(YOUNG_S - 1)
    assert await keys.key("one") is not None
    clock.advance(1)
    assert await keys.key("one") is None


async def test_known_keys_go_on_while_the_issuer_is_down(keys: KeySet, signer: Signer, clock: Clock) -> None:
    await keys.key("one")
    signer.down = True
    clock.advance(OLDEST_S - 1)
    assert await keys.key("one") is not None


async def test_but_not_for_ever(keys: KeySet, signer: Signer, clock: Clock) -> None:
    await keys.key("one")
    signer.down = True
    clock.advance(OLDEST_S)
    with pytest.raises(Overloaded):
        await keys.key("one")


async def test_unknown_ones_are_told_to_come_back(keys: KeySet, signer: Signer, clock: Clock) -> None:
    await keys.key("one")
    signer.down = True
    clock.advance(FETCH_EVERY_S)
    for _ in range(100):
        with pytest.raises(Overloaded) as caught:
            await keys.key("two")
        assert caught.value.retry_after_s == FETCH_EVERY_S
    assert len(signer.fetched) == 3
    signer.down = False
    clock.advance(FETCH_EVERY_S)
    assert await keys.key("two") is None


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.test", "jwks_uri": "https://issuer.test/keys"},
        {"issuer": Signer.url, "jwks_uri": "http://issuer.test/keys"},
        {"issuer": Signer.url, "jwks_uri": "file:///etc/passwd"},
        {"issuer": Signer.url, "jwks_uri": 7},
        {"issuer": Signer.url},
        [],
    ],
)
async def test_a_discovery_that_can_not_be_believed_gives_no_keys(
    keys: KeySet, signer: Signer, discovery: object
) -> None:
    signer.discovery = discovery
    with pytest.raises(Overloaded):
        await keys.key("one")
    assert len(signer.fetched) == 1


async def test_keys_that_are_not_for_our_signatures_are_left_out(keys: KeySet, signer: Signer, made: Signer) -> None:
    one = published(made, "one")
    signer.keys = [
        published(made, "curve"),
        published(made, "short"),
        one | {"kid": "encrypts", "use": "enc"},
        one | {"kid": "other", "alg": "PS512"},
        {"kid": "shared", "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"},
        {"kid": "broken", "kty": "RSA", "n": "!", "e": "AQAB"},
        {"kid": 7, "kty": "RSA"},
        "no key",
    ]
    found = {kid: await keys.key(kid) for kid in ("curve", "short", "encrypts", "other", "shared", "broken")}
    assert [kid for kid, key in found.items() if key is not None] == ["curve"]


@pytest.mark.parametrize("named", [True, False])
async def test_the_only_key_needs_no_id(keys: KeySet, signer: Signer, named: bool) -> None:
    if not named:
        signer.keys = [{name: value for name, value in signer.keys[0].items() if name != "kid"}]
    assert await keys.key(ALONE) is not None


async def test_one_of_several_does(keys: KeySet, signer: Signer, made: Signer) -> None:
    signer.keys.append(published(made, "two"))
    assert await keys.key(ALONE) is None


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(302 if self.path == "/moved" else 404 if self.path == "/none" else 200)
        self.send_header("Location", "/document")
        self.end_headers()
        self.wfile.write(b"x" * (LARGEST + 1) if self.path == "/large" else b"{}")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_a_document_is_fetched(server: str) -> None:
    assert await fetch(f"{server}/document") == b"{}"


@pytest.mark.parametrize(("path", "error"), [("moved", OSError), ("none", OSError), ("large", ValueError)])
async def test_what_is_no_document_is_not(server: str, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await fetch(f"{server}/{path}")


async def test_nobody_there_is_an_os_error() -> None:
    with pytest.raises(OSError, match="ConnectError"):
        await fetch("http://127.0.0.1:1/")


@pytest.mark.parametrize("url", ["https://a.test", "http://localhost:9", "http://127.0.0.1/x", "http://[::1]/"])
def test_these_can_be_believed(url: str) -> None:
    assert is_safe(url)


@pytest.mark.parametrize("url", ["http://a.test", "https://", "ftp://localhost/", "file:///x", "", "http://[", "//a"])
def test_these_can_not(url: str) -> None:
    assert not is_safe(url)
