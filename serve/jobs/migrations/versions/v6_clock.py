"""The time that SQLite's processes agree on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "clock",
        sa.Column("boot", sa.String, primary_key=True),
        sa.Column("offset", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop it: each process has a clock of its own then."""
    op.drop_table("clock")
