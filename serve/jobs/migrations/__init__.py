"""The versions of the tables, by Alembic, without an alembic.ini: the engine is given.

`versions/` has one module a version; `alembic`'s own table says which one a database has. A version is upgraded to
in one transaction, under the database's write lock, so that of many processes that start at once one does the work.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from serve.errors import OperatorError

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic takes a fifth of a second to import: whoever finds the tables as they should be does without it.

_VERSIONS = Path(__file__).parent / "versions"
_LOCK = 0x636E_6A6F_6273  # of PostgreSQL's advisory locks; any number will do
_BEFORE_ALEMBIC = "schema_version"


class SchemaMismatch(OperatorError, RuntimeError):
    """The tables are those of another version of this program."""


def head() -> str:
    """The version of this program's tables."""
    return max(_known(), key=int)


def upgrade(reads: sa.Engine, writes: sa.Engine, to: str = "head") -> None:
    """Bring the tables up to version `to`; those that are there already cost one look.

    Raises:
        SchemaMismatch: The tables are those of a newer version.
    """
    wanted = head() if to == "head" else to
    with reads.connect() as connection:
        if version(connection) == wanted:
            return
    from alembic import command

    with writes.begin() as connection:
        _alone(connection)
        config = _config(connection)
        found = version(connection)
        if found is None and sa.inspect(connection).has_table(_BEFORE_ALEMBIC):
            command.stamp(config, "1")
            connection.exec_driver_sql(f"DROP TABLE {_BEFORE_ALEMBIC}")
        elif found is not None and found not in _known():
            raise _newer(reads.url, found, wanted)
        command.upgrade(config, to)


def agree(reads: sa.Engine) -> bool:
    """Whether there are tables, which then are those of this program.

    Raises:
        SchemaMismatch: They are another version's.
    """
    with reads.connect() as connection:
        found = version(connection)
        if found is None:
            return False
    if found not in _known():
        raise _newer(reads.url, found, head())
    if found != head():
        raise SchemaMismatch(
            f"{reads.url.render_as_string()} has tables of version {found}, and this program's are {head()}: "
            "start the platform once with this program, by `cnserve up`, which brings them up"
        )
    return True


def downgrade(writes: sa.Engine, to: str) -> None:
    """Bring the tables down to version `to` (`base`: none); what only later versions can say is lost."""
    from alembic import command

    with writes.begin() as connection:
        _alone(connection)
        command.downgrade(_config(connection), to)


def version(connection: sa.Connection) -> str | None:
    """The version of the tables; none where there are none, or where they are older than Alembic here."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def _known() -> set[str]:
    names = (re.match(r"v([0-9]+)_", file.name) for file in _VERSIONS.glob("v*.py"))
    return {name[1] for name in names if name is not None}


def _newer(url: sa.URL, found: str, wanted: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"{url.render_as_string()} has tables of version {found}, this program knows up to {wanted}: "
        "run the program that made it, or point CN_DATABASE at another one"
    )


def _alone(connection: sa.Connection) -> None:
    """Wait until nobody else changes the tables; on SQLite the transaction itself sees to that."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL lock_timeout = '120s'")
        connection.exec_driver_sql("SET LOCAL statement_timeout = '600s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def _config(connection: sa.Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
