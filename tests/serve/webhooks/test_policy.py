from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.config import Settings
from serve.errors import InvalidRequest
from serve.webhooks.policy import Refused, Target, check_url, parse

HOSTS = ("hooks.example.com", "*.example.org", "odd.example.com:8443", "93.184.216.34", "[2606:2800::1]")


def target(url: str, hosts: tuple[str, ...] = HOSTS) -> Target:
    return parse(url, hosts)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hooks.example.com", ("hooks.example.com", 443, "/")),
        ("https://hooks.example.com:443/a/b?c=d&e=%2F", ("hooks.example.com", 443, "/a/b?c=d&e=%2F")),
        ("HTTPS://Hooks.Example.COM/A", ("hooks.example.com", 443, "/A")),
        ("https://a.b.example.org/", ("a.b.example.org", 443, "/")),
        ("https://odd.example.com:8443/x", ("odd.example.com", 8443, "/x")),
        ("https://93.184.216.34/", ("93.184.216.34", 443, "/")),
        ("https://[2606:2800::1]/", ("[2606:2800::1]", 443, "/")),
    ],
)
def test_a_listed_host_is_fine(url: str, expected: tuple[str, int, str]) -> None:
    found = target(url)
    assert (found.host, found.port, found.path) == expected
    assert (found.scheme, found.local) == ("https", False)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.com/",  # not listed
        "https://example.org/",  # *.example.org is what is below it
        "https://notexample.org/",
        "https://hooks.example.com.evil.net/",
        "https://hooks.example.com:8443/",  # the port is listed for another
        "https://hooks.example.com:0/",
        "https://hooks.example.com:99999/",
        "https://odd.example.com/",  # listed with a port: only there
        "http://hooks.example.com/",
        "http://hooks.example.com:443/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
    ],
)
def test_a_host_or_port_that_is_not_listed_is_refused(url: str) -> None:
    with pytest.raises(Refused, match=r"is not one of the hosts|must be https"):
        target(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/",
        "https:hooks.example.com",
        "https:/hooks.example.com",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "https://user@hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com@169.254.169.254/",
        "https://hooks.example.com\\@169.254.169.254/",
        "https://169.254.169.254\\.hooks.example.com/",
        "https://hooks.example.com\\",
        "https://hooks.example.com/\\evil",
        "https://hooks.example.com/#fragment",
        "https://hooks.example.com?x",
        "https://hooks.example.com /",
        " https://hooks.example.com/",
        "https://hooks.example.com/\n",
        "https://hooks.example.com/\r\nHost: evil",
        "https://hooks.example.com\x00/",
        "https://hooks%2eexample.com/",
        "https://hooks.example.com:/",
        "https://hooks.example.com:44 3/",
        "https://ho\u00f6ks.example.org/",
        "https://hooks\u3002example.com/",  # an ideographic full stop, which IDNA takes for a dot
        "https://hooks.example.\u212aom/",  # a Kelvin sign, which lower() takes for a k
        "https://[::1%25eth0]/",
        "https://hooks.example.com/" + "a" * 2048,
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="must be a plain URL"):
        target(url)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",  # 127.0.0.1, as are all of these
        "0x7f000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.0.0.01",
        "127.0.0.0x1",
        "1.2.3.4.5",
        "localhost.1",
        "[127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "[::0001]",
        "[::1",
        "hooks.example.com.",
        "hooks..example.com",
        ".example.org",
        "-.example.org",
        "a" * 64 + ".example.org",
        "a." * 130 + "example.org",
    ],
)
def test_an_odd_spelling_is_refused_even_where_it_is_listed(host: str) -> None:
    with pytest.raises(Refused):
        target(f"https://{host}/", (host, "*.example.org", "localhost", "127.0.0.1", "[::1]", "*.1"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_is_for_development_where_it_is_listed(host: str) -> None:
    assert target(f"http://{host}:9000/x", (host,)) == Target("http", host, 9000, "/x", local=True)
    assert target(f"https://{host}/x", (host,)) == Target("https", host, 443, "/x", local=True)


def test_this_machine_can_be_listed_with_one_port() -> None:
    assert target("http://localhost:9000/", ("localhost:9000",)).local
    with pytest.raises(Refused):
        target("http://localhost:9001/", ("localhost:9000",))


def test_another_address_of_this_machine_is_not_for_development() -> None:
    assert not target("https://127.0.0.2/", ("127.0.0.2",)).local


def test_nothing_is_allowed_where_nothing_is_listed() -> None:
    with pytest.raises(Refused):
        target("https://hooks.example.com/", ())


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://hooks.example.com/", "hooks.example.com"),
        ("https://odd.example.com:8443/", "odd.example.com:8443"),
        ("https://[2606:2800::1]/", "[2606:2800::1]"),
    ],
)
def test_the_host_header_has_the_port_where_it_is_not_the_usual_one(url: str, authority: str) -> None:
    assert target(url).authority == authority


def test_admission_names_the_field() -> None:
    settings = Settings(webhook_hosts=("hooks.example.com",), _env_file=None)
    assert check_url("https://hooks.example.com/", settings).host == "hooks.example.com"
    with pytest.raises(InvalidRequest) as caught:
        check_url("https://evil.example.com/", settings)
    assert caught.value.field == "webhook.url"


@given(st.text(max_size=60), st.sampled_from(["", "https://", "https://hooks.example.com", "http://localhost:"]))
def test_no_text_leads_anywhere_that_is_not_listed(text: str, start: str) -> None:
    try:
        found = target(start + text)
    except Refused:
        return
    assert found.scheme == "https"
    assert found.host == "hooks.example.com" or found.host.endswith(".example.org") or found.host in HOSTS
