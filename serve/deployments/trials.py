"""Trial images: the platform's own, made on the kind of worker that a job ended, to see whether it is the job.

A worker that ends under a small image of nobody's too is ill, and proves nothing against the job.
"""

from __future__ import annotations

import asyncio
import logging

from ray.serve.handle import DeploymentHandle

from serve.deployments.fates import fate_of
from serve.deployments.outages import cause_of, pause_after
from serve.jobs.store import Job
from serve.registry.registry import source_of

PAUSE = (1.0, 60.0)  # seconds until the next trial after one that failed: the first time, at most

log = logging.getLogger(__name__)


class Trials:
    """Makes trial images, and remembers on which kinds of workers they failed.

    Args:
        imaging: Handle of the imaging deployment.
        sampler: Handle of the sampler deployment.
        within: Seconds that one may take, with the wait for a worker.
    """

    def __init__(self, imaging: DeploymentHandle, sampler: DeploymentHandle, within: float) -> None:
        self._imaging = imaging
        self._sampler = sampler
        self._within = within
        self._failed: dict[str, int] = {}  # one after the other, by kind of worker

    async def passes(self, job: Job) -> bool:
        """Whether the kind of worker that a job needs makes an image now."""
        return await self._make(job) is None

    async def allows(self, job: Job) -> bool:
        """Whether a suspect may run: not where the last trial failed, and the one that is made then ends its worker."""
        if _worker(job) not in self._failed:
            return True
        error = await self._make(job)
        return error is None or fate_of(error) != "died"  # another error says what becomes of the job, if it meets it

    def rest_s(self, job: Job) -> float:
        """Seconds until there should be another trial; none where the last one came out well."""
        failed = self._failed.get(_worker(job), 0)
        return pause_after(failed, *PAUSE) if failed else 0.0

    async def _make(self, job: Job) -> BaseException | None:
        """One trial; why it failed, if it did."""
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(self._within):
                await self._imaging.probe.remote()
                if job.spec.seeds:
                    await self._sampler.probe.remote(job.model.digest, source_of(job.model.name, job.model.version))
        except (asyncio.CancelledError, Exception) as error:
            if task.cancelling():
                raise
            log.warning("no trial image", extra={"job_id": job.id, "reason": repr(cause_of(error))})
            self._failed[_worker(job)] = self._failed.get(_worker(job), 0) + 1
            return error
        self._failed.pop(_worker(job), None)
        return None


def _worker(job: Job) -> str:
    """The kind of worker that a job needs: one that holds its bundle, or imaging alone."""
    return job.model.digest if job.spec.seeds else "imaging"
