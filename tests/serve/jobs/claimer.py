"""A dispatcher in a process of its own: claims until nothing is left, succeeds each job, prints their ids.

Arguments: database URL, owner, seconds of a lease, how many jobs it takes before it kills itself in the middle of one.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from serve.jobs.database import open_database
from serve.jobs.store import JobResult, JobStore, LeaseLost, StoredImage

IMAGE = StoredImage("demo/aa/b.png", 7, 256, 192)


def main(url: str, owner: str, lease_s: float, lives: int) -> None:
    engine = open_database(url)
    store = JobStore(engine)
    while (counts := store.counts())["queued"] + counts["running"]:
        leases = store.claim(owner, lease_s, room=3)
        if not leases:
            time.sleep(0.02)
        for lease in leases:
            try:
                store.progress([(lease, {"step": 1})])
                store.renew([lease], lease_s)
                store.image_done(lease, 0, IMAGE)
                lives -= 1
                if lives == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                store.succeed(lease, JobResult((IMAGE,)))
            except LeaseLost:
                continue
            print(lease.job.id, flush=True)
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
