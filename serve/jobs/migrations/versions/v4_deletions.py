"""Condemned keys say which deletion is under way; those of before count as being deleted, as they were."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Add the column and an index."""
    op.add_column("condemned", sa.Column("token", sa.String, server_default="unknown"))
    op.create_index("condemned_by_age", "condemned", ["at"])


def downgrade() -> None:
    """Drop them; all that is condemned stays so."""
    op.drop_index("condemned_by_age", "condemned")
    op.drop_column("condemned", "token")
