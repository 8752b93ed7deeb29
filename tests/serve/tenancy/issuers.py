"""Issuers of tokens: one that we did not write, on loopback, and one in memory whose keys and answers tests choose."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

AUDIENCE = "controlnet"
CLIENT = {"client_id": AUDIENCE, "redirect_uri": "http://localhost/back"}


def token_of(issuer: str, subject: str, **claims: Any) -> str:
    """The ID token of a person who signs in at an `oidc_provider_mock`, by the authorization code flow."""
    with httpx.Client(base_url=issuer, trust_env=False) as browser:
        browser.put(f"/users/{subject}", json=claims).raise_for_status()
        asked = CLIENT | {"response_type": "code", "scope": "openid"}
        answer = browser.post("/oauth2/authorize", params=asked, data={"sub": subject})
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        form = CLIENT | {"grant_type": "authorization_code", "code": code, "client_secret": "any"}
        token: str = browser.post("/oauth2/token", data=form).raise_for_status().json()["id_token"]
    return token


@contextlib.contextmanager
def running() -> Iterator[str]:
    """The URL of an `oidc_provider_mock` in a process of its own, which has no sense of our warnings."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        "setpriv",
        "--pdeathsig=KILL",
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "oidc_provider_mock",
        "-p",
        str(port),
    ]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not _listens(port):
            assert server.poll() is None, "the issuer has ended"
            assert time.monotonic() < deadline, "the issuer did not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Signer:
    """An issuer in memory: signs what it is told to, and serves its documents through `fetch`.

    Attributes:
        fetched: URLs that were asked for.
        down: Whether it answers nobody.
        keys: Its JWKS.
        discovery: Its discovery document.
    """

    url = "https://issuer.test/v2.0"

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.down = False
        self.private: dict[str, Any] = {}
        self.keys: list[Any] = []
        self.discovery: Any = {"issuer": self.url, "jwks_uri": "https://issuer.test/keys"}

    def add(self, kid: str, kind: str = "RSA", **members: Any) -> None:
        """Sign with a new key from now on, too."""
        if kind == "EC":
            self.private[kid] = ec.generate_private_key(ec.SECP256R1())
            algorithm: Any = jwt.algorithms.ECAlgorithm
        else:
            self.private[kid] = rsa.generate_private_key(65537, 1024 if kind == "short" else 2048)
            algorithm = jwt.algorithms.RSAAlgorithm
        self.keys.append(algorithm.to_jwk(self.private[kid].public_key(), as_dict=True) | {"kid": kid} | members)

    def withdraw(self, kid: str) -> None:
        """Stop to publish a key."""
        self.keys = [key for key in self.keys if key["kid"] != kid]

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if self.down:
            raise OSError("nobody answers")
        documents = {
            f"{self.url}/.well-known/openid-configuration": self.discovery,
            "https://issuer.test/keys": {"keys": self.keys},
        }
        return json.dumps(documents[url]).encode()

    def sign(self, claims: dict[str, Any], key: str = "one", alg: str = "RS256", **header: Any) -> str:
        return jwt.encode(claims, self.private[key], alg, headers={"kid": key} | header)
