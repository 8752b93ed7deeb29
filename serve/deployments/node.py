"""A Ray of this machine alone, whose agents listen on ports that are chosen before they start.

Where Ray's agents choose them, its raylet waits for each choice for 15 seconds, and ends itself where one comes later
(ray-project/ray#65983): on a machine with much else to do agents take that long to import what they need. And by
default one of the ports is the same for all, so that no second Ray could start on a machine.
"""

from __future__ import annotations

import os

from ray._private.node import Node
from ray._private.parameter import RayParams
from ray._raylet import DASHBOARD_AGENT_LISTEN_PORT_NAME, persist_port  # type: ignore[attr-defined]

from serve.deployments.ground import free_ports

AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


class _Node(Node):  # type: ignore[misc]  # Ray's is untyped
    def start_ray_processes(self) -> None:
        """Start the raylet, and write the one port that it is not told where it waits to read it."""
        port = self.dashboard_agent_listen_port
        persist_port(self.get_session_dir_path(), self._node_id, DASHBOARD_AGENT_LISTEN_PORT_NAME, port)
        super().start_ray_processes()


def start_node(object_store_memory: int, resources: dict[str, float] | None = None, dashboard: bool = False) -> Node:
    """Start what `ray.init` does, but for the driver: `ray.init(address=node.address)` is one.

    Args:
        object_store_memory: Bytes.
        resources: Beside processors and GPUs.
        dashboard: Whether to have one, on a port of its choice.

    Raises:
        Exception: Ray's processes do not come up; `serve.deployments.environment.PATIENCE` says how long that takes.
    """
    parameters = RayParams(
        num_cpus=max(2, os.cpu_count() or 1),
        resources=resources,
        include_dashboard=dashboard,
        dashboard_host="127.0.0.1",
        dashboard_port=0,
        object_store_memory=object_store_memory,
        **dict(zip(AGENT_PORTS, free_ports(len(AGENT_PORTS)), strict=True)),
    )
    # As `ray.init` does: the processes end with this one, however it ends.
    return _Node(parameters, head=True, shutdown_at_exit=False, spawn_reaper=True, ray_init_cluster=True)


def stop_node(node: Node) -> None:
    """End its processes; those that have ended already are no error."""
    node.kill_all_processes(check_alive=False, allow_graceful=True)
