"""`python -m ops.faults.redeployment GCS_ADDRESS`: deploy what runs there anew, with another setting.

A process of its own, since it joins the platform's Ray and leaves it by ending; the settings come from the environment,
as those of the platform did.
"""

from __future__ import annotations

import sys
import time

from ops.faults.guest import guest
from serve.config import Settings


def main(address: str) -> None:
    """Join, deploy, and wait until the new replicas serve."""
    with guest(address):
        from ray import serve as ray_serve

        from serve.deployments.app import build
        from serve.deployments.names import NAME
        from serve.deployments.platform import gpus_of_sampler

        settings = Settings()
        # One that changes nothing about a job, but is another each time: Serve replaces only what has changed.
        changed = settings.model_copy(update={"max_streams": 1000 + int(time.time()) % 1000})
        ray_serve.run(build(changed, gpus_of_sampler(settings)), name=NAME, route_prefix=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
