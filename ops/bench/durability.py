"""What durability costs: a job over HTTP and through the store, minus the same deployments called directly.

The platform is idle, jobs are small (one image, 2 steps, 32 x 32), calls alternate. `ops.faults.rig` starts what
`cnserve up` starts; `peers.direct` calls its own deployments past api, store and dispatcher.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from ops.bench.bench import Bench
from ops.bench.figure import Figure, percentile
from ops.bench.peers.direct import SPEC
from ops.bench.peers.process import answer
from ops.faults.rig import Rig

WARM_UP = 10
TARGET_MS = 25.0
REQUEST = {
    "prompt": SPEC.prompt,
    "seed": SPEC.seeds[0],
    "steps": SPEC.steps,
    "guidance": SPEC.guidance,
    "width": SPEC.width,
    "height": SPEC.height,
}


def measure(bench: Bench) -> Sequence[Figure]:
    """The difference of the medians, in ms."""
    durable, direct = [], []
    with tempfile.TemporaryDirectory(prefix="cn-durability-") as folder, Rig(Path(folder)) as rig:
        command = [sys.executable, "-m", "ops.bench.peers.direct", rig.gcs_address, rig.database_url]
        with (
            httpx.Client(base_url=rig.url, headers=authorization(rig), timeout=60) as http,
            subprocess.Popen(
                command, env=rig.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as peer,
        ):
            for number in range(WARM_UP + bench.effort.calls):
                pair = 1000 * over_http(http), 1000 * past_it(peer)
                if number >= WARM_UP:
                    durable.append(pair[0])
                    direct.append(pair[1])
    cost = statistics.median(durable) - statistics.median(direct)
    detail = {
        "calls": len(durable),
        "durable p50 ms": statistics.median(durable),
        "direct p50 ms": statistics.median(direct),
        "durable p99 ms": percentile(durable, 0.99),
        "direct p99 ms": percentile(direct, 0.99),
    }
    return [Figure("durability", "ms at p50 that durability costs", cost, TARGET_MS, at_most=True, detail=detail)]


def over_http(http: httpx.Client) -> float:
    """Seconds of a job as clients have it."""
    began = time.perf_counter()
    answer = http.post("/v1/images", json=REQUEST, headers={"Accept": "image/png"})
    seconds = time.perf_counter() - began
    answer.raise_for_status()
    return seconds


def authorization(rig: Rig) -> dict[str, str]:
    """What says who asks."""
    return {"Authorization": f"Bearer {rig.key}"}


def past_it(peer: subprocess.Popen[str]) -> float:
    """Seconds of the same work without a job."""
    return float(answer(peer, ""))
