"""What the platform is compared with over HTTP: each peer, started as the bench does, makes the pictures it must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import pytest

from ops.bench.bodies import Body, bodies
from ops.bench.client import Request, Server, send
from ops.bench.equality import require_equal
from ops.bench.peers import process
from ops.bench.peers.batched import Tuning
from ops.bench.peers.engine import EngineProcess
from ops.bench.serving import set_tuning
from ops.bench.subjects import demo
from tests.e2e.conftest import Running

pytestmark = pytest.mark.e2e

Opened = Callable[[int], AbstractContextManager[str]]


@pytest.fixture(scope="session")
def asked() -> dict[str, Body]:
    """Two that may share a batch only where any may, and one that may share the first's."""
    made = bodies(demo(), 2, (2, 3))
    return made | {"2": made["0"] | {"seed": 7}}


@pytest.fixture(scope="session")
def expected(asked: Mapping[str, Body]) -> dict[str, object]:
    with EngineProcess(1) as engine:
        alone, together = (engine.make(way, asked) for way in ("one at a time", "together"))
    require_equal(together.pictures, alone.pictures)
    return alone.pictures


def pictures(server: Server, asked: Mapping[str, Body]) -> dict[str, object]:
    outcomes = send(server, [Request(name, body) for name, body in asked.items()])
    return {outcome.request.name: outcome.picture for outcome in outcomes}


def test_one_at_a_time(alone: None, asked: Mapping[str, Body], expected: Mapping[str, object]) -> None:
    with process.locked(1) as url:
        require_equal(pictures(Server("locked", url), asked), expected)


def test_serve_batch(alone: None, asked: Mapping[str, Body], expected: Mapping[str, object]) -> None:
    with process.batched(1) as url:
        for mode in ("key", "any"):
            set_tuning(Server("batched", url), Tuning(mode, 4, 0.2))
            require_equal(pictures(Server("batched", url), asked), expected)


def test_the_platform(platform: Running, asked: Mapping[str, Body], expected: Mapping[str, object]) -> None:
    server = Server("platform", platform.rig.url, {"Authorization": f"Bearer {platform.rig.key}"})
    require_equal(pictures(server, asked), expected)
