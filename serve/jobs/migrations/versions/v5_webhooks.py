"""Webhooks keep their body once an attempt has failed, and are found by team."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("deliveries", sa.Column("body", sa.String))
    op.create_index("deliveries_by_team", "deliveries", ["state", "tenant", "due_at", "id"])


def downgrade() -> None:
    """Drop them: bodies are made anew from their jobs."""
    op.drop_index("deliveries_by_team", "deliveries")
    op.drop_column("deliveries", "body")
