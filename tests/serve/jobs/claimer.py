"""A dispatcher in a process of its own: claims until nothing is left, succeeds each job, prints their ids."""

from __future__ import annotations

import sys

from serve.jobs.database import open_database
from serve.jobs.store import JobResult, JobStore


def main(url: str, owner: str) -> None:
    engine = open_database(url)
    store = JobStore(engine)
    while leases := store.claim(owner, lease_s=600, limit=3):
        for lease in leases:
            store.succeed(lease, JobResult(()))
            print(lease.job.id)
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
