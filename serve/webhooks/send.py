"""One POST to a webhook: to the address that was checked, in bounded time, with no redirect and no proxy."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Iterable, Mapping, Sequence

import httpx

from serve.webhooks.addresses import Address, Resolver, pin, system_resolver
from serve.webhooks.policy import Refused, Target, parse

TIMEOUT_S = 10.0
"""From the host's name to the answer."""

LONGEST_ANSWER = 1024
"""Bytes of the answer that are read, and forgotten: a tenant must not see through us what an inner server says."""


class Undelivered(Exception):
    """A receiver did not take a delivery; another attempt may go better. The message tells a person why.

    Attributes:
        retry_after_s: What the receiver asked for, if it did.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class Sender:
    """Posts to the hosts that the operator lists.

    Args:
        hosts: See `policy`.
        resolve: Asked once a delivery; the system when absent.
        tls: Whom to trust; the public authorities when absent.
        timeout_s: For all of a delivery.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        resolve: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._hosts = hosts
        self._resolve = resolve or system_resolver()
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Deliver JSON; the receiver took it when this returns.

        Raises:
            Undelivered: It did not, or was not called: the list may have changed since the job was admitted.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                target = parse(url, self._hosts)
                status, retry_after = await self._send(target, await pin(target, self._resolve), headers, body)
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout_s:g} s") from None
        except Refused as error:
            raise Undelivered(f"not called: {error}") from None
        except httpx.HTTPError as error:
            raise Undelivered(_reason(error)) from error
        if 300 <= status < 400:
            raise Undelivered(f"answered {status}: redirects are not followed")
        if not 200 <= status < 300:
            raise Undelivered(f"answered {status}", _seconds(retry_after))

    async def _send(
        self, target: Target, address: Address, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str | None]:
        """Connect to `address`, and to nothing else; TLS and HTTP see the host's name."""
        place = f"[{address}]" if address.version == 6 else str(address)
        async with (
            httpx.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=None) as client,
            client.stream(
                "POST",
                f"{target.scheme}://{place}:{target.port}{target.path}",
                content=body,
                headers={
                    **headers,
                    "Host": target.authority,
                    "Content-Type": "application/json",
                    "User-Agent": "controlnet-platform",
                },
                extensions={"sni_hostname": target.host.strip("[]")},
            ) as answer,
        ):
            received = 0
            async for chunk in answer.aiter_raw(LONGEST_ANSWER):  # most answers end here, and the connection in order
                received += len(chunk)
                if received >= LONGEST_ANSWER:
                    break
            return answer.status_code, answer.headers.get("Retry-After")


def _reason(error: httpx.HTTPError) -> str:
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return "its certificate is not valid for this host"
    if isinstance(error, httpx.ConnectError):
        return "could not be reached"
    return "broke off before it had answered"


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _seconds(retry_after: str | None) -> float | None:
    """Of a `Retry-After` in seconds; its other form, a date, is not worth trusting a stranger's clock."""
    try:
        found = float(retry_after or "")
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None
