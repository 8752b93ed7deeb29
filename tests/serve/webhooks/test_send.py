from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

import httpx
import pytest

import serve.webhooks.send
from serve.webhooks.policy import Target
from serve.webhooks.send import Sender, Undelivered
from tests.serve.webhooks.conftest import Authority, Receiver, listening

HEADERS = {"Webhook-Id": "dlv_1", "Webhook-Timestamp": "1", "Webhook-Signature": "v1,x"}
LOOPBACK = ipaddress.ip_address("127.0.0.1")


async def to_loopback(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


def sender(**how: object) -> Sender:
    return Sender(("localhost",), **{"resolve": to_loopback, **how})  # type: ignore[arg-type]


def url(receiver: Receiver, path: str = "/") -> str:
    return f"http://localhost:{receiver.port}{path}"


async def test_one_post_is_made(receiver: Receiver) -> None:
    await sender().post(url(receiver, "/hook?team=red"), HEADERS, b'{"a": 1}')
    (received,) = receiver.received
    assert received.line == "POST /hook?team=red HTTP/1.1"
    assert received.body == b'{"a": 1}'
    assert received.headers["content-type"] == "application/json"
    assert received.headers["host"] == f"localhost:{receiver.port}"
    assert received.headers["webhook-id"] == "dlv_1"
    assert received.headers["webhook-signature"] == "v1,x"


@pytest.mark.parametrize("status", ["201 Created", "202 Accepted", "204 No Content"])
async def test_every_kind_of_success_is_one(receiver: Receiver, status: str) -> None:
    receiver.response = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    await sender().post(url(receiver), HEADERS, b"{}")


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
async def test_a_receiver_that_does_not_take_it_is_told_by_its_status(receiver: Receiver, status: int) -> None:
    receiver.response = f"HTTP/1.1 {status} No\r\nContent-Length: 6\r\n\r\nsecret".encode()
    with pytest.raises(Undelivered, match=f"^answered {status}$") as caught:
        await sender().post(url(receiver), HEADERS, b"{}")
    assert caught.value.retry_after_s is None


@pytest.mark.parametrize(
    ("value", "seconds"), [("120", 120.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("-1", None), ("inf", None)]
)
async def test_a_receiver_may_ask_for_time(receiver: Receiver, value: str, seconds: float | None) -> None:
    receiver.response = f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(Undelivered) as caught:
        await sender().post(url(receiver), HEADERS, b"{}")
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    async with listening(Receiver()) as inside:
        location = f"http://localhost:{inside.port}/latest/meta-data"
        receiver.response = f"HTTP/1.1 {status} There\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        with pytest.raises(Undelivered, match=f"answered {status}: redirects are not followed"):
            await sender().post(url(receiver), HEADERS, b"{}")
        assert (receiver.connections, inside.connections) == (1, 0)


async def test_a_redirect_to_the_metadata_of_a_cloud_is_refused(receiver: Receiver) -> None:
    receiver.response = (
        b"HTTP/1.1 307 There\r\nLocation: http://169.254.169.254/latest/meta-data\r\nContent-Length: 0\r\n\r\n"
    )
    with pytest.raises(Undelivered, match="redirects are not followed"):
        await sender().post(url(receiver), HEADERS, b"{}")


async def test_a_name_that_leads_inside_is_not_called(receiver: Receiver) -> None:
    hosts = (f"hooks.example.com:{receiver.port}",)
    with pytest.raises(Undelivered, match=r"not called: .* must not call"):
        await Sender(hosts, to_loopback).post(f"https://hooks.example.com:{receiver.port}/", HEADERS, b"{}")
    assert receiver.connections == 0


async def test_a_host_that_is_listed_no_more_is_not_called(receiver: Receiver) -> None:
    with pytest.raises(Undelivered, match="not called: localhost on port"):
        await Sender((), to_loopback).post(url(receiver), HEADERS, b"{}")
    assert receiver.connections == 0


async def test_a_name_is_resolved_once_and_what_was_checked_is_called(receiver: Receiver) -> None:
    """The second answer, which a rebinding attacker gives to the connection, is never asked for."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    await sender(resolve=rebinding).post(url(receiver), HEADERS, b"{}")
    assert receiver.connections == 1
    assert answers == [["169.254.169.254"]]
    with pytest.raises(Undelivered, match="must not call"):
        await sender(resolve=rebinding).post(url(receiver), HEADERS, b"{}")
    assert receiver.connections == 1


async def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(Receiver()) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await sender().post(url(receiver), HEADERS, b"{}")
        assert (receiver.connections, proxy.connections) == (1, 0)


async def test_tls_sees_the_name_and_the_socket_the_checked_address(authority: Authority) -> None:
    """No resolver knows this name: only the pinned address can have led there."""
    receiver = Receiver()
    async with listening(receiver, authority.server("hooks.test", receiver)):
        target = Target("https", "hooks.test", receiver.port, "/hook", local=False)
        status, _ = await sender(tls=authority.trust())._send(target, LOOPBACK, HEADERS, b"{}")
    assert status == 200
    (received,) = receiver.received
    assert received.server_name == "hooks.test"
    assert received.headers["host"] == f"hooks.test:{receiver.port}"


async def test_a_certificate_for_another_name_is_not_accepted(authority: Authority) -> None:
    receiver = Receiver()
    async with listening(receiver, authority.server("evil.test", receiver)):
        with pytest.raises(Undelivered, match="certificate is not valid"):
            await sender(tls=authority.trust()).post(f"https://localhost:{receiver.port}/", HEADERS, b"{}")
    assert receiver.received == []


async def test_a_certificate_of_an_unknown_authority_is_not_accepted(authority: Authority) -> None:
    receiver = Receiver()
    async with listening(receiver, authority.server("localhost", receiver)):
        with pytest.raises(Undelivered, match="certificate is not valid"):
            await sender().post(f"https://localhost:{receiver.port}/", HEADERS, b"{}")
    assert receiver.received == []


async def test_a_certificate_can_be_for_an_address(authority: Authority) -> None:
    receiver = Receiver()
    async with listening(receiver, authority.server("127.0.0.1", receiver)):
        how = Sender(("127.0.0.1",), tls=authority.trust())
        await how.post(f"https://127.0.0.1:{receiver.port}/", HEADERS, b"{}")
    assert len(receiver.received) == 1


async def test_a_receiver_that_answers_a_byte_at_a_time_runs_out_of_time(receiver: Receiver) -> None:
    """Each read ends in time; only the whole does not."""
    gone = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        eof = asyncio.ensure_future(reader.read())
        while not eof.done():
            writer.write(b"H")
            await asyncio.wait({eof}, timeout=0.01)
        gone.set()

    receiver.answer = drip
    with pytest.raises(Undelivered, match=r"no answer within 0.1 s"):
        await sender(timeout_s=0.1).post(url(receiver), HEADERS, b"{}")
    await gone.wait()


async def test_a_name_that_never_resolves_runs_out_of_time() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(Undelivered, match="no answer within"):
        await sender(resolve=resolve, timeout_s=0.01).post("http://localhost/", HEADERS, b"{}")


async def test_no_more_of_an_answer_is_read_than_fits(receiver: Receiver) -> None:
    """The answer never ends, and the delivery does."""
    gone = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await reader.read()  # until the sender hangs up, before the last chunk
        gone.set()

    receiver.answer = flood
    await sender().post(url(receiver), HEADERS, b"{}")
    await gone.wait()


async def test_a_receiver_that_hangs_up_has_not_taken_it(receiver: Receiver) -> None:
    receiver.response = b""
    with pytest.raises(Undelivered, match="broke off"):
        await sender().post(url(receiver), HEADERS, b"{}")


async def test_a_receiver_that_is_not_there_has_not_taken_it() -> None:
    async with listening(Receiver()) as receiver:
        pass
    with pytest.raises(Undelivered, match="could not be reached"):
        await sender().post(url(receiver), HEADERS, b"{}")


async def test_by_default_a_delivery_has_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    timeout = asyncio.timeout
    monkeypatch.setattr(serve.webhooks.send.asyncio, "timeout", lambda s: asked.append(s) or timeout(s))
    with pytest.raises(Undelivered):
        await Sender(()).post("http://localhost/", HEADERS, b"{}")
    assert asked == [10.0]


async def test_nothing_else_is_raised_for_what_a_receiver_does(receiver: Receiver) -> None:
    receiver.response = b"\x16\x03\x01 this is not HTTP\r\n\r\n"
    with pytest.raises(Undelivered) as caught:
        await sender().post(url(receiver), HEADERS, b"{}")
    assert isinstance(caught.value.__cause__, httpx.HTTPError)
