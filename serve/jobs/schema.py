"""The tables. `serve.jobs.migrations` makes them, one version after another; a test holds the two equal."""

from __future__ import annotations

import sqlalchemy as sa

from serve.jobs.job import STATES

metadata = sa.MetaData()

# JSON and not JSONB: what a spec says comes back as it was written, to the last digit, and nothing searches inside.
_JSON = sa.JSON(none_as_null=True)
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER PRIMARY KEY counts by itself in SQLite
_DEADLINE = sa.text("deadline IS NOT NULL")  # most jobs have none

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("tenant", sa.String, nullable=False),
    sa.Column("state", sa.String, sa.CheckConstraint(f"state IN {STATES}", name="jobs_state"), nullable=False),
    sa.Column("spec", _JSON, nullable=False),
    sa.Column("model_name", sa.String, nullable=False),
    sa.Column("model_version", sa.String, nullable=False),
    sa.Column("model_digest", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column("lease_owner", sa.String),
    sa.Column("lease_until", sa.Double),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("progress", _JSON),
    sa.Column("result", _JSON),
    sa.Column("error", _JSON),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("webhook", sa.String),
    sa.Column("idempotency_key", sa.String),
    sa.Column("retention", sa.Double, nullable=False, server_default="604800"),  # seconds from its end
    sa.Column("expires_at", sa.Double),  # set at its end
    sa.Column("expired_at", sa.Double),  # set when the result was cleared
    sa.Column("priority", sa.String, nullable=False, server_default="interactive"),  # inside its tenant
    sa.Column("deadline", sa.Double),  # epoch seconds after which it is not wanted any more
    sa.Column("rows", sa.Integer, nullable=False, server_default="0"),  # UNet rows of all its images
    sa.Column("gflop", sa.Double, nullable=False, server_default="0"),  # of all its images: what it costs
    sa.Column("trace", sa.String),  # W3C traceparent of the request that submitted it, where that is traced
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # attempts that count: of `max_attempts`
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),  # of workers that ran it alone, which count
    sa.Column("suspect", sa.Boolean, nullable=False, server_default=sa.false()),  # a worker died with it: it runs alone
    sa.Column("not_before", sa.Double),  # epoch seconds until which a suspect waits
    sa.Index("jobs_by_age", "state", "created_at", "id"),
    # With all that the fair order asks of a job that waits, so that the rows themselves are left alone.
    sa.Index("jobs_by_turn", "state", "tenant", "priority", "created_at", "id", "rows", "gflop"),
    sa.Index("jobs_by_deadline", "state", "deadline", sqlite_where=_DEADLINE, postgresql_where=_DEADLINE),
    sa.Index("jobs_by_lease", "state", "lease_until"),
    # Few jobs ever are; SQLite takes the index only where a query has these very words.
    sa.Index(
        "jobs_by_suspicion",
        "state",
        "not_before",
        sqlite_where=sa.text("suspect = 1"),
        postgresql_where=sa.text("suspect"),
    ),
    sa.Index("jobs_by_tenant", "tenant", "created_at", "id"),
    sa.Index("jobs_by_expiry", "expired_at", "expires_at"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("data", _JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("events_by_job", "job_id", "id"),
    sqlite_autoincrement=True,  # an id is never given twice, not even after its event was deleted
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("token", sa.String, nullable=False),  # whose reservation it is
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE")),  # none until it was submitted
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Index("idempotency_by_expiry", "expires_at"),
    sa.Index("idempotency_by_job", "job_id"),  # with whose row it goes
)

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("job_id", sa.String, primary_key=True),  # whose row may be gone: a bill outlives it
    sa.Column("tenant", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),  # of all images together
    sa.Column("pixels", sa.BigInteger, nullable=False),  # likewise
    sa.Column("gpu_seconds", sa.Double, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("day", sa.String, nullable=False),  # of `at`, in UTC
    sa.Column("gflop", sa.Double, nullable=False, server_default="0"),
    sa.Index("usage_by_tenant", "tenant", "at"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, unique=True),
    sa.Column("tenant", sa.String, nullable=False),
    sa.Column("url", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),  # how many have ended
    sa.Column("due_at", sa.Double),  # when it may be claimed (again), and a claim's fence; none once it is over
    sa.Column("problem", sa.String),  # of the last attempt
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("body", sa.String),  # of the first attempt that failed, for the next ones
    sa.Index("deliveries_by_due", "state", "due_at"),
    sa.Index("deliveries_by_team", "state", "tenant", "due_at", "id"),
)

# What keeps an artifact, and what was swept away: `retention` tells how the three fit together.

holds = sa.Table(
    "holds",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("holder", sa.String, primary_key=True),  # id of a job
    sa.Index("holds_by_holder", "holder"),
)

condemned = sa.Table(
    "condemned",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),  # in the future where its deletion failed: when it is tried again
    # Of the deletion that is under way; programs that don't know the column delete without one.
    sa.Column("token", sa.String, server_default="unknown"),
    sa.Index("condemned_by_age", "at"),
)

swept = sa.Table(
    "swept",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("swept_by_key", "key"),
    sqlite_autoincrement=True,
)

serving = sa.Table(
    "serving",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("manifest", _JSON, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
)

locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

# What SQLite's processes agree on, which share one machine: `clock` tells.
clock = sa.Table(
    "clock",
    metadata,
    sa.Column("boot", sa.String, primary_key=True),  # a start of the machine
    sa.Column("offset", sa.Double, nullable=False),  # from seconds since then to epoch seconds
)

# Who may use the platform, and how much of it: `serve.tenancy` owns these.

tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("weight", sa.Double, nullable=False),  # of its share, against the others'
    sa.Column("limits", _JSON, nullable=False),  # as declared; what it does not name is not limited
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("removed_at", sa.Double),  # its keys open nothing from then on; jobs and usage stay
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("tenant", sa.ForeignKey("tenants.name"), nullable=False),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),  # for people
    sa.Column("hash", sa.String, nullable=False),  # SHA-256 of the secret, which nobody keeps
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
    sa.Index("keys_by_tenant", "tenant", "created_at"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("actor", sa.String, nullable=False),  # a key's id, a token's subject, or the operator's shell
    sa.Column("tenant", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("data", _JSON, nullable=False),
    sa.Index("audit_by_tenant", "tenant", "id"),
    sqlite_autoincrement=True,
)

rates = sa.Table(
    "rates",
    metadata,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("due", sa.Double, nullable=False),  # when a caller at exactly its rate would come next
)

spent = sa.Table(
    "spent",
    metadata,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("day", sa.String, primary_key=True),  # in UTC
    sa.Column("images", sa.BigInteger, nullable=False),  # accepted, less what failed or was cancelled
    sa.Column("gflop", sa.Double, nullable=False),  # likewise
)

# Whose turn it is, and how long things take: `fairness` and `pace` tell what the columns mean.

turns = sa.Table(
    "turns",
    metadata,
    sa.Column("tenant", sa.String, primary_key=True),
    sa.Column("served", sa.Double, nullable=False),  # virtual time
    sa.Column("waiting", sa.Boolean, nullable=False),  # whether jobs were left when it was last looked at
    sa.Column("overtaken", sa.Integer, nullable=False, server_default="0"),  # starts since the last of its batch jobs
)

paces = sa.Table(
    "paces",
    metadata,
    sa.Column("worker", sa.String, primary_key=True),
    sa.Column("fixed", sa.Double, nullable=False),  # seconds of a step, whatever is in it
    sa.Column("per_gflop", sa.Double, nullable=False),  # seconds more for each GFLOP
    sa.Column("gflop", sa.Double, nullable=False),  # of a full batch's step
    sa.Column("rows", sa.Integer, nullable=False),  # of a full batch
    sa.Column("at", sa.Double, nullable=False),
)
