"""What an attempt costs: failures and deaths are counted apart from starts; suspects run alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"

COLUMNS = ("not_before", "suspect", "deaths", "failures")


def upgrade() -> None:
    """Add the columns; no job of before has failed or is suspect, so that its next attempts are all its own."""
    op.add_column("jobs", sa.Column("failures", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("deaths", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("suspect", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("jobs", sa.Column("not_before", sa.Double))
    op.create_index(
        "jobs_by_suspicion",
        "jobs",
        ["state", "not_before"],
        sqlite_where=sa.text("suspect = 1"),
        postgresql_where=sa.text("suspect"),
    )


def downgrade() -> None:
    """Drop them; jobs stay as they are."""
    op.drop_index("jobs_by_suspicion", "jobs")
    for column in COLUMNS:
        op.drop_column("jobs", column)
