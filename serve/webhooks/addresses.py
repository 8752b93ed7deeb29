"""Where a host leads: resolved once, every address checked, and the checked one is what is called.

Whoever owns a name can answer differently each time it is asked (DNS rebinding), so the check and the call must share
one answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from serve.webhooks.policy import Refused, Target

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host for a port, as texts; `OSError` where there is none."""

_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out: no IPv4 in IPv6, no site-local

# What `is_global` lets through and a tenant must not reach.
_INSIDE = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's WireServer: a public address that answers only inside a virtual network
            "192.0.0.0/24",  # of the IETF; a cloud has its metadata there
            "192.88.99.0/24",  # relays of 6to4, which are gone
            "2001::/23",  # of the IETF: Teredo, which has IPv4 inside
            "2002::/16",  # 6to4, likewise
            "3fff::/20",  # for documentation
        ),
    )
)


def is_public(address: Address) -> bool:
    """Whether the address is one host of the public internet."""
    if address.version == 6 and address not in _UNICAST:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in _INSIDE)


async def pin(target: Target, resolve: Resolver) -> Address:
    """The address to connect to.

    Raises:
        Refused: The host has no address, or any that it must not have.
    """
    try:
        texts = await resolve(target.host.strip("[]"), target.port)
    except OSError:
        texts = ()
    addresses = [ipaddress.ip_address(text) for text in texts]
    if not addresses:
        raise Refused("the host's name does not resolve")
    for address in addresses:
        if not (address.is_loopback if target.local else is_public(address)):
            raise Refused("the host's name resolves to an address that webhooks must not call")
    return addresses[0]


def system_resolver(threads: int = 32) -> Resolver:
    """Asks the system, which prefers what this machine can reach. An address is its own answer.

    A question that is under way is not asked again: who asks it too shares the answer.

    Args:
        threads: Of its own: a name server that is silent holds them for long, and no one else's work may wait for that.
    """
    own = ThreadPoolExecutor(threads, "resolver")
    under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}

    def ask(host: str, port: int) -> list[str]:
        return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

    def forget(asked: tuple[str, int], answer: asyncio.Future[list[str]]) -> None:
        del under_way[asked]
        if not answer.cancelled():
            answer.exception()  # seen, also where nobody waits for it any more

    async def resolve(host: str, port: int) -> list[str]:
        asked = host, port
        if asked not in under_way:
            under_way[asked] = asyncio.get_running_loop().run_in_executor(own, ask, host, port)
            under_way[asked].add_done_callback(partial(forget, asked))
        return await asyncio.shield(under_way[asked])  # who gives up waiting does not end the call

    return resolve
