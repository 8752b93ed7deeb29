"""Which URLs a webhook may have.

A tenant chooses the URL and this platform calls it from inside its network, so what is not understood exactly is
refused. A URL is taken apart here and nowhere else: whoever sends works with the `Target`, because a checker and a
sender that read one URL differently are the classic way around a check. The host must be one that the operator lists:

- `hooks.example.com`: this host, on port 443;
- `hooks.example.com:8443`: this host, on that port;
- `*.example.com`: every host below, not the domain itself, on port 443;
- `localhost`, `127.0.0.1`, `[::1]`: this machine, for development: any port (or the one that is named), and http too.

`addresses` checks where the host leads, when it is called.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from serve.config import Settings
from serve.errors import InvalidRequest

LONGEST_URL = 2048
LONGEST_HOST = 253

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORTS = {"https": 443, "http": 80}

# No user, no backslash, no fragment, nothing beyond ASCII: an international name is written as `xn--...`.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[a-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.IGNORECASE | re.ASCII,
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


class Refused(Exception):
    """A webhook that is not called; the message says why, and nothing about the network inside."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was taken apart and found fit.

    Attributes:
        scheme: `https`, or `http` where `local`.
        host: In lower case; an IPv6 address in brackets.
        path: With the query.
        local: This machine, for development: only loopback addresses are called, instead of only public ones.
    """

    scheme: str
    host: str
    port: int
    path: str
    local: bool

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"


def check_url(url: str, settings: Settings) -> Target:
    """Admit a webhook with a job. No name is resolved: a tenant can't ask this way what exists inside.

    Raises:
        InvalidRequest: Of the field `webhook.url`.
    """
    try:
        return parse(url, settings.webhook_hosts)
    except Refused as error:
        raise InvalidRequest(str(error), field="webhook.url") from None


def parse(url: str, hosts: Iterable[str]) -> Target:
    """Take a URL apart.

    Args:
        url: As the tenant wrote it.
        hosts: What the operator lists.

    Raises:
        Refused: It is not a plain URL, or not of a listed host and port.
    """
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None:
        raise Refused(
            f"must be a plain URL (https://host/path) of at most {LONGEST_URL} ASCII characters: no user, no "
            "backslash, no fragment, an international host as xn--"
        )
    scheme, host = found["scheme"].lower(), _host(found["host"].lower())
    port = int(found["port"] or _PORTS[scheme])
    entries = frozenset(entry.lower() for entry in hosts)
    local = host in _LOCAL and not entries.isdisjoint({host, f"{host}:{port}"})
    if not local:
        if not _is_listed(host, port, entries):
            raise Refused(f"{host} on port {port} is not one of the hosts that the operator allows webhooks to call")
        if scheme != "https":
            raise Refused("must be https")
    return Target(scheme, host, port, found["path"] or "/", local)


def _host(host: str) -> str:
    """The host as it is called: a DNS name, or an address in its one canonical spelling.

    Everything that some resolver takes for an IPv4 address (`2130706433`, `0x7f.1`, `127.1`) ends in a number (WHATWG
    URL, section 3.5), and no name does.
    """
    bare = host.strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        labels = host.split(".")
        if len(host) > LONGEST_HOST or not all(map(_LABEL.fullmatch, labels)) or _NUMBER.fullmatch(labels[-1]):
            raise Refused(f"{host[:LONGEST_HOST]} is neither a host's name nor an address in its usual form") from None
        return host
    canonical = f"[{address}]" if address.version == 6 else str(address)
    if canonical != host:
        raise Refused(f"{host} is an unusual spelling of {canonical}")
    return host


def _is_listed(host: str, port: int, entries: frozenset[str]) -> bool:
    if f"{host}:{port}" in entries:
        return True
    parents = (f"*{host[dot:]}" for dot, letter in enumerate(host) if letter == ".")
    return port == _PORTS["https"] and (host in entries or not entries.isdisjoint(parents))
