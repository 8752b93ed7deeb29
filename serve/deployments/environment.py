"""What Ray reads from the environment, some of it while it is imported: an entry point calls this before."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

PATIENCE = {
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_gcs_server_port_wait_time_s": "600",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
}
"""How long Ray waits for its own processes: its half a minute is too short on a machine with much else to do. Whoever
starts the platform sees what is waited for, and can interrupt it."""


CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def secure_ray(folder: Path) -> None:
    """Turn Ray's token on, with a token of this platform that only its owner can read, its statistics off; be patient.

    Args:
        folder: Where the token is kept; Ray's own default would be readable by everyone on the machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    token = folder.resolve() / "ray-token"
    with contextlib.suppress(FileExistsError), open(token, "x", opener=_for_owner_only) as file:
        file.write(secrets.token_hex(32))
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    os.environ.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_SERVE_LOG_TO_STDERR="0",
        RAY_worker_niceness="0",  # Ray's 15 has samplers wait for everything else on the machine, the api included
        RAY_SERVE_METRICS_EXPORT_INTERVAL_MS="1000",  # ten times a second every replica noted that nothing had happened
        RAY_SERVE_CONTROL_LOOP_INTERVAL_S="0.3",  # likewise the controller, for 7 % of a core
        RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD="1",  # a blocking step must not block Serve's health checks
    )


def usable_cores(quota: Path = CPU_MAX) -> int:
    """Cores that this process may use: `taskset` or a container may leave it fewer than the machine has.

    A container has a set of cores, or a quota of their time; threads beyond that wait for each other's turns.

    Args:
        quota: What cgroups v2 say of it: microseconds in a period of so many, or `max`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no cgroups v2, or no quota
        allowed, period = map(int, quota.read_text(encoding="ascii").split())
        cores = min(cores, max(1, allowed // period))
    return cores


def _for_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
