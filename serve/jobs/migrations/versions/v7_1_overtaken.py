"""Turns count the interactive jobs that overtook a team's batch jobs; programs of version 7 leave the count alone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "7.1"
down_revision = "7"


def upgrade() -> None:
    """Add the column; nobody was overtaken so far."""
    op.add_column("turns", sa.Column("overtaken", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop it; turns stay as they are."""
    op.drop_column("turns", "overtaken")
