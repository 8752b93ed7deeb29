"""Idempotency, usage, webhooks, retention, control maps: what is there already is counted and held as if new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

TABLES = ("swept", "condemned", "holds", "deliveries", "usage", "idempotency")
COLUMNS = ("expired_at", "expires_at", "retention", "idempotency_key", "webhook")


def upgrade() -> None:
    """Add the tables and columns, then fill them from the jobs there are."""
    op.add_column("jobs", sa.Column("webhook", sa.String))
    op.add_column("jobs", sa.Column("idempotency_key", sa.String))
    op.add_column("jobs", sa.Column("retention", sa.Double, nullable=False, server_default="604800"))
    op.add_column("jobs", sa.Column("expires_at", sa.Double))
    op.add_column("jobs", sa.Column("expired_at", sa.Double))
    op.create_index("jobs_by_expiry", "jobs", ["expired_at", "expires_at"])
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id", ondelete="CASCADE")),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_index("idempotency_by_expiry", "idempotency", ["expires_at"])
    usage = op.create_table(
        "usage",
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("steps", sa.Integer, nullable=False),
        sa.Column("pixels", sa.BigInteger, nullable=False),
        sa.Column("gpu_seconds", sa.Double, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("day", sa.String, nullable=False),
    )
    op.create_index("usage_by_tenant", "usage", ["tenant", "at"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("job_id", sa.String, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, unique=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("url", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double),
        sa.Column("problem", sa.String),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
    )
    op.create_index("deliveries_by_due", "deliveries", ["state", "due_at"])
    holds = op.create_table(
        "holds",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("holder", sa.String, primary_key=True),
    )
    op.create_index("holds_by_holder", "holds", ["holder"])
    op.create_table(
        "condemned",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_table(
        "swept",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("swept_by_key", "swept", ["key"])
    _fill(usage, holds)


def downgrade() -> None:
    """Drop them; jobs, events and pointers stay as they are."""
    for table in TABLES:
        op.drop_table(table)
    op.drop_index("jobs_by_expiry", "jobs")
    for column in COLUMNS:
        op.drop_column("jobs", column)


def _fill(usage: sa.Table, holds: sa.Table) -> None:
    connection = op.get_bind()
    text, number = sa.String, sa.Double
    jobs = sa.table(
        "jobs",
        *(sa.column(name, text) for name in ("id", "tenant", "state", "model_name")),
        *(sa.column(name, sa.JSON) for name in ("spec", "result")),
        *(sa.column(name, number) for name in ("finished_at", "expires_at", "retention")),
    )
    ended = jobs.c.finished_at.is_not(None)
    connection.execute(sa.update(jobs).where(ended).values(expires_at=jobs.c.finished_at + jobs.c.retention))
    for row in connection.execute(sa.select(jobs)).all():
        keys = sorted(set(_keys(row)))
        if keys:
            connection.execute(sa.insert(holds), [{"key": key, "holder": row.id} for key in keys])
        if row.state == "succeeded":
            spec, images = row.spec, len(row.spec["seeds"])
            values = {
                "job_id": row.id,
                "tenant": row.tenant,
                "model": row.model_name,
                "images": images,
                "steps": spec["steps"] * images,
                "pixels": spec["width"] * spec["height"] * images,
                "gpu_seconds": row.result["timings"].get("sampling", 0.0),
                "at": row.finished_at,
                "day": time.strftime("%Y-%m-%d", time.gmtime(row.finished_at)),
            }
            connection.execute(sa.insert(usage), values)


def _keys(row: sa.Row[Any]) -> Iterator[str]:
    for control in row.spec["controls"]:
        yield from control["images"]
    for artifact in (row.result["images"] + row.result["control_maps"]) if row.result else ():
        yield artifact["key"]
