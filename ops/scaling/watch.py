"""`python -m ops.scaling.watch GCS_ADDRESS`: a JSON line whenever Serve has more or fewer samplers than before.

A process of its own, since it joins the platform's Ray; `CN_DATA_DIR` says where the token is. It ends with its input.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping

from ops.faults.guest import guest

LOOK_EVERY_S = 0.5


def main(address: str) -> None:
    """Join, and tell."""
    ended = threading.Event()

    def until_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=until_the_end, daemon=True).start()
    with guest(address):
        from ray.serve.context import _get_global_client

        from serve.deployments.names import NAME

        before: Mapping[str, int] | None = None
        while not ended.wait(LOOK_EVERY_S):
            # As the controller tells it: `serve.status()` pickles classes of Ray anew in each call, which takes a core.
            application = _get_global_client().get_serve_details()["applications"].get(NAME)
            deployment = None if application is None else application["deployments"].get("sampler")
            if deployment is None:
                continue
            now = dict(sorted(Counter(replica["state"] for replica in deployment["replicas"]).items()))
            if now != before:
                before = now
                print(json.dumps({"at": time.time(), "samplers": now}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
