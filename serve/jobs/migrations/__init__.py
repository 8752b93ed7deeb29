"""The versions of the tables, by Alembic, without an alembic.ini: the engine is given.

`versions/` has one module a version; `alembic`'s own table says which one a database has. A version is upgraded to
in one transaction, under the database's write lock, so that of many processes that start at once one does the work.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_LOCK = 0x636E_6A6F_6273  # of PostgreSQL's advisory locks; any number will do
_BEFORE_ALEMBIC = "schema_version"


class SchemaMismatch(RuntimeError):
    """The database was made by a newer version of this program."""


def upgrade(reads: sa.Engine, writes: sa.Engine, to: str = "head") -> None:
    """Bring the tables up to version `to`; those that are there already cost one look.

    Raises:
        SchemaMismatch: The tables are those of a newer version.
    """
    scripts = ScriptDirectory.from_config(_config())
    wanted = scripts.get_current_head() if to == "head" else to
    with reads.connect() as connection:
        if version(connection) == wanted:
            return
    with writes.begin() as connection:
        _alone(connection)
        config = _config(connection)
        found = version(connection)
        if found is None and sa.inspect(connection).has_table(_BEFORE_ALEMBIC):
            command.stamp(config, "1")
            connection.exec_driver_sql(f"DROP TABLE {_BEFORE_ALEMBIC}")
        elif found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
            raise SchemaMismatch(
                f"{reads.url.render_as_string()} has tables of version {found}, this program knows up to {wanted}: "
                "run the program that made it, or point CN_DATABASE at another one"
            )
        command.upgrade(config, to)


def downgrade(writes: sa.Engine, to: str) -> None:
    """Bring the tables down to version `to` (`base`: none); what only later versions can say is lost."""
    with writes.begin() as connection:
        _alone(connection)
        command.downgrade(_config(connection), to)


def version(connection: sa.Connection) -> str | None:
    """The version of the tables; none where there are none, or where they are older than Alembic here."""
    return MigrationContext.configure(connection).get_current_revision()


def _alone(connection: sa.Connection) -> None:
    """Wait until nobody else changes the tables; on SQLite the transaction itself sees to that."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '120s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = '600s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
