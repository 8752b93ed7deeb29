"""A tenant's jobs page by page."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection

import sqlalchemy as sa

from serve.errors import InvalidRequest
from serve.jobs.job import Job, Page, State
from serve.jobs.schema import jobs
from serve.jobs.transitions import read


def page(connection: sa.Connection, tenant: str, states: Collection[State], after: str | None, limit: int) -> Page:
    """Up to `limit` jobs, the newest first, from where the cursor `after` says the last page ended.

    Raises:
        InvalidRequest: The cursor is none.
    """
    query = sa.select(jobs).where(jobs.c.tenant == tenant)
    if states:
        query = query.where(jobs.c.state.in_(states))
    if after is not None:
        query = query.where(sa.tuple_(jobs.c.created_at, jobs.c.id) < _end(after))
    query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit + 1)
    found = [read(row) for row in connection.execute(query)]
    return Page(tuple(found[:limit]), _cursor(found[limit - 1]) if len(found) > limit else None)


def _cursor(job: Job) -> str:
    """Where a page ended: opaque, so that its meaning may change."""
    return base64.urlsafe_b64encode(json.dumps([job.created_at, job.id]).encode()).decode().rstrip("=")


def _end(cursor: str) -> sa.Tuple:
    refused = InvalidRequest("is not a cursor of a page", field="cursor")
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, job_id = json.loads(text)
    except (binascii.Error, ValueError, TypeError):
        raise refused from None
    if not isinstance(created_at, float) or not (isinstance(job_id, str) and job_id.isascii()) or "\0" in job_id:
        raise refused
    return sa.tuple_(sa.literal(created_at), sa.literal(job_id))
