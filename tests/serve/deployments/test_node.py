"""How Ray is started on this machine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray._private.node import Node
from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, wait_for_persisted_port

from serve.deployments import node as module
from serve.deployments.node import AGENT_PORTS, start_node


def test_agents_are_told_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """The raylet waits 15 seconds, and no more, for each that an agent chooses."""
    given: list[object] = []
    monkeypatch.setattr(module, "_Node", lambda parameters, **how: given.append(parameters))
    start_node(1 << 20)
    assert all(getattr(given[0], name) > 0 for name in AGENT_PORTS)


def test_the_port_that_the_raylet_is_not_told_lies_where_it_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    def start(node: Node) -> None:
        read.append(wait_for_persisted_port(str(tmp_path), node._node_id, DASHBOARD_AGENT_LISTEN_PORT_NAME, 0))

    monkeypatch.setattr(Node, "start_ray_processes", start)
    node = object.__new__(module._Node)
    node._session_dir, node._node_id = str(tmp_path), "a1"
    node._ray_params = SimpleNamespace(dashboard_agent_listen_port=51043)
    node.start_ray_processes()
    assert read == [51043]
