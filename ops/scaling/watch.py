"""`python -m ops.scaling.watch GCS_ADDRESS`: a JSON line whenever Serve has more or fewer samplers than before.

A process of its own, since it joins the platform's Ray; `CN_DATA_DIR` says where the token is. It ends with its input.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping

from ops.faults.guest import guest

LOOK_EVERY_S = 0.2


def main(address: str) -> None:
    """Join, and tell."""
    ended = threading.Event()

    def until_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=until_the_end, daemon=True).start()
    with guest(address):
        from ray import serve as ray_serve

        from serve.deployments.names import NAME

        before: Mapping[str, int] | None = None
        while not ended.wait(LOOK_EVERY_S):
            application = ray_serve.status().applications.get(NAME)
            deployment = None if application is None else application.deployments.get("sampler")
            if deployment is None:
                continue
            now = {state: count for state, count in sorted(deployment.replica_states.items()) if count}
            if now != before:
                before = now
                print(json.dumps({"at": time.time(), "samplers": now}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
