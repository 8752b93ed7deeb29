from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence

import pytest

from serve.webhooks.addresses import is_public, pin, system_resolver
from serve.webhooks.policy import Refused, Target

HOOKS = Target("https", "hooks.example.com", 443, "/", local=False)
LOCALHOST = Target("http", "localhost", 9000, "/", local=True)


class Resolver:
    """Answers each question with the next of its answers."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers.pop(0)


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:2800:220:1::1"])
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.8.9.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "224.0.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:93.184.216.34",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2001:0:1::1",
        "2001:db8::1",
        "3fff::1",
        "2002:a9fe:a9fe::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_an_address_inside_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


async def test_the_first_of_the_addresses_is_pinned() -> None:
    resolver = Resolver(["93.184.216.34", "2606:2800:220:1::1"])
    assert str(await pin(HOOKS, resolver)) == "93.184.216.34"
    assert resolver.asked == [("hooks.example.com", 443)]


async def test_one_address_inside_refuses_them_all() -> None:
    with pytest.raises(Refused, match="resolves to an address that webhooks must not call"):
        await pin(HOOKS, Resolver(["93.184.216.34", "10.0.0.1"]))


async def test_a_refusal_says_nothing_of_what_is_inside() -> None:
    with pytest.raises(Refused) as caught:
        await pin(HOOKS, Resolver(["10.0.0.1"]))
    assert "10.0.0.1" not in str(caught.value)


async def test_a_name_without_addresses_is_refused() -> None:
    with pytest.raises(Refused, match="does not resolve"):
        await pin(HOOKS, Resolver([]))


async def test_a_name_that_does_not_exist_is_refused() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise OSError

    with pytest.raises(Refused, match="does not resolve"):
        await pin(HOOKS, resolve)


async def test_this_machine_is_only_this_machine() -> None:
    assert str(await pin(LOCALHOST, Resolver(["127.0.0.1"]))) == "127.0.0.1"
    with pytest.raises(Refused):
        await pin(LOCALHOST, Resolver(["93.184.216.34"]))


async def test_brackets_are_not_part_of_an_address() -> None:
    resolver = Resolver(["::1"])
    await pin(Target("http", "[::1]", 80, "/", local=True), resolver)
    assert resolver.asked == [("::1", 80)]


async def test_the_system_knows_an_address_by_itself() -> None:
    assert await system_resolver()("127.0.0.1", 80) == ["127.0.0.1"]


async def test_a_silent_name_server_holds_no_threads_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_by: list[str] = []

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        asked_by.append(threading.current_thread().name)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    await system_resolver()("hooks.example.com", 443)
    assert [name.partition("_")[0] for name in asked_by] == ["resolver"]


async def test_questions_about_a_host_whose_name_server_is_silent_hold_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = threading.Event()

    def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        if host == "silent.example.com":
            answered.wait()
        return [(0, 0, 0, "", ("93.184.216.34", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolve = system_resolver(threads=2)
    waiting = [asyncio.create_task(resolve("silent.example.com", 443)) for _ in range(5)]
    given_up = waiting.pop()
    await asyncio.sleep(0)
    given_up.cancel()
    assert await resolve("hooks.example.com", 443) == ["93.184.216.34"]
    answered.set()
    assert await asyncio.gather(*waiting) == [["93.184.216.34"]] * 4
