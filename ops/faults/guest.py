"""A process that joins the platform's Ray, and leaves it by ending."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.deployments.environment import secure_ray


@contextmanager
def guest(address: str) -> Iterator[None]:
    """Join for a block; the process ends with it, with 1 and the traceback where it raised.

    Args:
        address: Of the platform's GCS; its token is in the `CN_DATA_DIR` of the environment.
    """
    secure_ray(Path(os.environ["CN_DATA_DIR"]))
    import ray

    status = 1
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        yield
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)  # Serve's handles have threads that would start another Ray when this one is left
