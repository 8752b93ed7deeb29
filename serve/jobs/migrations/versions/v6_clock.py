"""The time that SQLite's processes agree on; jobs whose rows may go: their usage stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "6"
down_revision = "5"

FOREIGN_KEY = "usage_job_id_fkey"  # as PostgreSQL names it


def upgrade() -> None:
    """Add the table and an index, and let usage stand by itself."""
    op.create_table(
        "clock",
        sa.Column("boot", sa.String, primary_key=True),
        sa.Column("offset", sa.Double, nullable=False),
    )
    op.create_index("idempotency_by_job", "idempotency", ["job_id"])
    with _usage() as usage:
        usage.drop_constraint(FOREIGN_KEY, type_="foreignkey")


def downgrade() -> None:
    """Drop them; usage of jobs that are gone goes: each process has a clock of its own then."""
    op.execute("DELETE FROM usage WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = usage.job_id)")
    with _usage() as usage:
        usage.create_foreign_key(FOREIGN_KEY, "jobs", ["job_id"], ["id"])
    op.drop_index("idempotency_by_job", "idempotency")
    op.drop_table("clock")


@contextmanager
def _usage() -> Iterator[BatchOperations]:
    """The table, which SQLite makes anew to change its constraints; those have no names there until they are read."""
    names = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}
    with op.batch_alter_table("usage", naming_convention=names) as batch:
        yield batch
