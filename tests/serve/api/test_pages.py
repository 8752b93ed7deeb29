"""Pages for people: complete without the Internet, strict about what they load, and what they show works."""

from __future__ import annotations

import hashlib
import re
import shlex
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from serve.api import pages
from serve.api.problems import KINDS
from tests.serve.api.conftest import TENANT, Worker, problem_of

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}
PAGES = ("/", "/docs", "/problems/not-found")
VENDORED = pages.STATIC / "swagger-ui"
BASE = "http://localhost"


class Page(HTMLParser):
    """What a page asks for, where it leads, and what a strict policy would refuse of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self.texts: dict[str, str] = {}
        self._inside: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        target = given.get("src") or given.get("href")
        if target is not None:
            (self.links if tag == "a" else self.loads).append(target)
        elif tag in ("script", "style"):
            self.inline.append(tag)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if tag not in ("meta", "link", "img"):
            self._inside.append(given.get("id"))

    def handle_endtag(self, tag: str) -> None:
        self._inside.pop()

    def handle_data(self, data: str) -> None:
        for name in filter(None, self._inside):
            self.texts[name] = self.texts.get(name, "") + data


async def read(client: httpx.AsyncClient, path: str) -> Page:
    answer = await client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return Page(answer.text)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_names_files_of_this_host_alone_and_they_are_there(client: httpx.AsyncClient, path: str) -> None:
    found = (await read(client, path)).loads
    assert {urljoin(path, name).rpartition(".")[2] for name in found} >= {"css", "svg"}
    for name in found:
        url = urljoin(f"{BASE}{path}", name)
        assert urlsplit(url).netloc == urlsplit(BASE).netloc
        answer = await client.get(url)
        suffix = f".{name.rpartition('.')[2]}"
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, pages.MEDIA_TYPES[suffix])


@pytest.mark.parametrize("path", PAGES)
async def test_a_browser_is_told_to_load_nothing_else(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers=BROWSER)
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    sources = {source for name in policy for source in policy[name].split()}
    assert sources == {"'none'", "'self'", "data:", "blob:"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
async def test_nothing_on_a_page_needs_more_than_the_policy_gives(client: httpx.AsyncClient, path: str) -> None:
    assert (await read(client, path)).inline == []


@pytest.mark.parametrize("name", [name for name in pages.assets() if name.endswith(".css")])
def test_a_style_loads_nothing(name: str) -> None:
    text = pages.assets()[name].read_text("utf-8")
    assert "@import" not in text
    assert all(target.startswith("data:") for target in re.findall(r"""url\(["']?([^)"']*)""", text))


@pytest.mark.parametrize("name", ["page.js", "docs.js"])
def test_our_scripts_name_no_host(name: str) -> None:
    assert not re.search(r"""["'`](https?:)?//""", pages.assets()[name].read_text("utf-8"))


async def test_an_asset_is_kept_for_as_long_as_its_name_stands(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/assets/{pages.version()}/page.css")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_an_asset_of_another_version_is_not_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/assets/0123456789abcdef/page.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


async def test_assets_and_docs_answer_to_head(client: httpx.AsyncClient) -> None:
    for path in ("/docs", f"/assets/{pages.version()}/page.css"):
        answer = await client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize(
    "name", ["nothing.css", "index.html", "swagger-ui/README.md", "../app.py", "%2e%2e/app.py", "/etc/passwd", ""]
)
async def test_nothing_else_is_handed_out(client: httpx.AsyncClient, name: str) -> None:
    problem_of(await client.get(f"/assets/{pages.version()}/{name}"), 404)


def test_what_is_vendored_is_as_it_was_published() -> None:
    lines = [line.split("  ") for line in (VENDORED / "SHA256SUMS").read_text().splitlines()]
    assert lines == [[hashlib.sha256((VENDORED / name).read_bytes()).hexdigest(), name] for _, name in lines]
    ours = {"README.md", "SHA256SUMS"}
    assert {name for _, name in lines} == {path.name for path in VENDORED.iterdir()} - ours


def test_swagger_ui_sends_the_document_nowhere() -> None:
    """By default it asks swagger.io whether the document is valid."""
    assert "validatorUrl: null" in pages.assets()["docs.js"].read_text()


async def test_a_person_is_shown_where_to_go(client: httpx.AsyncClient) -> None:
    page = await read(client, "/")
    assert {"docs", "openapi.json", "readyz"} <= set(page.links)
    for link in page.links:
        assert (await client.get(f"/{link}")).status_code == 200


async def test_the_first_page_is_small(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    files = [await client.get(f"/{name}") for name in set(Page(page.text).loads)]
    assert sum(len(answer.content) for answer in (page, *files)) < 6000


async def test_the_line_to_copy_works(client: httpx.AsyncClient, worker: Worker) -> None:
    line = (await read(client, "/")).texts["line"].replace("\\\n", " ")
    words = iter(shlex.split(line))
    headers, body, url = {}, "", ""
    assert next(words) == "curl"
    for word in words:
        if word == "-H":
            name, value = next(words).split(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        elif word == "-o":
            assert next(words).endswith(".png")
        elif not word.startswith("-"):
            url = word
    assert headers.pop("Authorization") == "Bearer $CN_KEY"
    answer = await client.post(urlsplit(url).path, content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/problem+json", "image/png"])
@pytest.mark.parametrize("path", ["/", "/problems/not-found"])
async def test_a_program_gets_json(client: httpx.AsyncClient, path: str, accept: str | None) -> None:
    client.headers.pop("Accept", None)
    answer = await client.get(path, headers={} if accept is None else {"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["vary"] == "Accept"


async def test_a_programs_links_lead_somewhere(client: httpx.AsyncClient) -> None:
    links = (await client.get("/")).json()["links"]
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {link for link in links.values() if link not in paths} == {"/docs", "/openapi.json"}


async def test_who_has_no_key_is_told_nothing_of_teams(client: httpx.AsyncClient) -> None:
    client.headers.pop("Authorization")
    answers = [await client.get("/"), await client.get("/", headers=BROWSER)]
    assert not any(TENANT in answer.text.replace("data/demo.key", "") for answer in answers)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_type_of_problem_is_explained_to_a_person(client: httpx.AsyncClient, kind: str) -> None:
    shown = (await client.get(f"/problems/{kind}", headers=BROWSER)).text
    told = (await client.get(f"/problems/{kind}")).json()
    assert set(told) == {"title", "status", "description", "remedy"}
    text = re.sub(r"</?code>", "`", shown).replace("&lt;", "<").replace("&gt;", ">").replace("&#x27;", "'")
    assert all(str(value) in text for value in told.values())


def test_every_type_of_problem_has_a_remedy_of_its_own() -> None:
    remedies = [kind.remedy for kind in KINDS.values()]
    assert len(set(remedies)) == len(remedies)
    assert all(re.fullmatch(r"[A-Z`].*\.", remedy) for remedy in remedies)
