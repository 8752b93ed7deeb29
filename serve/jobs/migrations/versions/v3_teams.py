"""Tenants, keys, quotas, the fair order: jobs of before are free, and nobody's turn is over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"

TABLES = ("paces", "turns", "spent", "rates", "audit", "keys", "tenants")
COLUMNS = ("trace", "gflop", "rows", "deadline", "priority")


def upgrade() -> None:
    """Add the tables and columns."""
    op.add_column("jobs", sa.Column("priority", sa.String, nullable=False, server_default="interactive"))
    op.add_column("jobs", sa.Column("deadline", sa.Double))
    op.add_column("jobs", sa.Column("rows", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("gflop", sa.Double, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("trace", sa.String))
    turn = ["state", "tenant", "priority", "created_at", "id", "rows", "gflop"]
    op.create_index("jobs_by_turn", "jobs", turn)
    some = sa.text("deadline IS NOT NULL")
    op.create_index("jobs_by_deadline", "jobs", ["state", "deadline"], sqlite_where=some, postgresql_where=some)
    op.add_column("usage", sa.Column("gflop", sa.Double, nullable=False, server_default="0"))
    op.create_table(
        "tenants",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("removed_at", sa.Double),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.name"), nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
    )
    op.create_index("keys_by_tenant", "keys", ["tenant", "created_at"])
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_tenant", "audit", ["tenant", "id"])
    op.create_table(
        "rates",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("due", sa.Double, nullable=False),
    )
    op.create_table(
        "spent",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("day", sa.String, primary_key=True),
        sa.Column("images", sa.BigInteger, nullable=False),
        sa.Column("gflop", sa.Double, nullable=False),
    )
    op.create_table(
        "turns",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("served", sa.Double, nullable=False),
        sa.Column("waiting", sa.Boolean, nullable=False),
    )
    op.create_table(
        "paces",
        sa.Column("worker", sa.String, primary_key=True),
        sa.Column("fixed", sa.Double, nullable=False),
        sa.Column("per_gflop", sa.Double, nullable=False),
        sa.Column("gflop", sa.Double, nullable=False),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )


def downgrade() -> None:
    """Drop them; jobs stay as they are."""
    for table in TABLES:
        op.drop_table(table)
    op.drop_column("usage", "gflop")
    op.drop_index("jobs_by_deadline", "jobs")
    op.drop_index("jobs_by_turn", "jobs")
    for column in COLUMNS:
        op.drop_column("jobs", column)
