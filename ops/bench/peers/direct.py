"""The deployments of a running platform, called without a job: one call for each line of standard input.

A process of its own, since it joins the platform's Ray and leaves it by ending: `python -m ops.bench.peers.direct
GCS_ADDRESS DATABASE_URL`, with `CN_DATA_DIR` in the environment. It answers each line with the seconds of its call.
"""

from __future__ import annotations

import sys
import time

from ops.faults.guest import guest
from serve.jobs.database import open_database
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore, ServedModel

SPEC = JobSpec(
    prompt="a brass gear", negative_prompt="", seeds=(1,), steps=2, guidance=3.0, width=32, height=32, sampler="ddim"
)


def main(address: str, database_url: str) -> None:
    """Join, then call as often as one is asked."""
    with guest(address):
        database = open_database(database_url)
        served = JobStore(database).serving()
        database.dispose()
        assert served is not None
        for number, _ in enumerate(sys.stdin):
            print(call(served, f"direct-{number}"), flush=True)


def call(served: ServedModel, job_id: str) -> float:
    """Do what the dispatcher does for a job without controls, and tell the seconds."""
    from ray import serve as ray_serve

    from serve.deployments.messages import Sampled, SamplerJob

    imaging = ray_serve.get_deployment_handle("imaging", "controlnet")
    sampler = ray_serve.get_deployment_handle("sampler", "controlnet")
    began = time.perf_counter()
    work = SamplerJob(job_id, 1, served.digest, served.source, SPEC, images=(0,))
    stream = sampler.options(stream=True).generate.remote(work)
    picture = next(event.picture for event in stream if isinstance(event, Sampled))
    imaging.publish.remote("bench", picture, SPEC.seeds[0], {}).result()
    stream.cancel()  # the sampler keeps what it made until then
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*sys.argv[1:])
