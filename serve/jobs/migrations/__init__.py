"""The versions of the tables, by Alembic, without an alembic.ini: the engine is given.

`versions/` has one module a version; `alembic`'s own table says which one a database has. A version is upgraded to
in one transaction, under the database's write lock, so that of many processes that start at once one does the work.

A version is `major` or `major.minor`. A minor version only adds: tables, indexes, columns that have a default or may be
empty. So a program works on tables of a later minor version than its own, and leaves them as they are: an older process
starts again during a rolling upgrade, and code is rolled back without the tables. What takes something away, or gives
it another meaning, is a major version, which older programs refuse.
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

TABLE_WAIT_MS = 2000
"""How long a version waits for a table: whoever needs that waits behind it, which a long reader must not prolong."""


class SchemaMismatch(OperatorError, RuntimeError):
    """The tables are those of another version of this program."""


def versions() -> list[str]:
    """All that this program knows, the first first."""
    names = (re.match(r"v([0-9]+(?:_[0-9]+)?)_", file.name) for file in _VERSIONS.glob("v*.py"))
    return sorted((name[1].replace("_", ".") for name in names if name is not None), key=_parts)


def head() -> str:
    """The version of this program's tables."""
    return versions()[-1]


def upgrade(reads: sa.Engine, writes: sa.Engine, to: str = "head") -> None:
    """Bring the tables up to version `to`; those of it, or of a later minor version, cost one look.

    Raises:
        SchemaMismatch: The tables are those of a later major version.
    """
    wanted = head() if to == "head" else to
    with reads.connect() as connection:
        if _serves(version(connection), wanted):
            return
    from alembic import command

    with writes.begin() as connection:
        _alone(connection)
        config = _config(connection)
        found = version(connection)
        if found is None and sa.inspect(connection).has_table(_BEFORE_ALEMBIC):
            command.stamp(config, "1")
            connection.exec_driver_sql(f"DROP TABLE {_BEFORE_ALEMBIC}")
        elif _serves(found, wanted):
            return  # somebody was faster
        elif found is not None and found not in versions():
            raise _newer(reads.url, found, wanted)
        command.upgrade(config, to)


def agree(reads: sa.Engine) -> bool:
    """Whether there are tables, which then are those of this program or of a later minor version.

    Raises:
        SchemaMismatch: They are another version's.
    """
    with reads.connect() as connection:
        found = version(connection)
        if found is None:
            return False
    if not _serves(found, head()):
        if found not in versions():
            raise _newer(reads.url, found, head())
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


def _parts(version: str) -> tuple[int, int]:
    """Major and minor."""
    major, _, minor = version.partition(".")
    return int(major), int(minor or 0)


def _serves(found: str | None, wanted: str) -> bool:
    """Whether tables of version `found` are those of `wanted`, or of a later minor version."""
    if found is None or re.fullmatch(r"[0-9]+(\.[0-9]+)?", found) is None:
        return False
    return _parts(found)[0] == _parts(wanted)[0] and _parts(found) >= _parts(wanted)


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
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {TABLE_WAIT_MS}")


def _config(connection: sa.Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
