"""PostgreSQL with the options of campaigns; that of the other tests has none."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops import services
from ops.services import Missing, Postgres

DAY_S = 86_400.0


@pytest.fixture(scope="module")
def postgres_data(postgres: Postgres) -> Iterator[Path]:
    """A folder for clusters that the server's user may enter, as those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="cn-data-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def postgres_own(postgres_data: Path) -> Iterator[Postgres]:
    """With all options."""
    try:
        server = Postgres(durable=True, data=postgres_data / "own", clock_offset_s=-DAY_S)
    except Missing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


def ask(server: Postgres, statement: str) -> Any:
    """The one value that the server answers, if any."""
    with closing(psycopg.connect(host=str(server.folder), user="postgres", autocommit=True)) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "autovacuum"])
def test_a_durable_server_waits_for_the_disk_and_another_does_not(
    postgres: Postgres, postgres_own: Postgres, setting: str
) -> None:
    assert (ask(postgres_own, f"SHOW {setting}"), ask(postgres, f"SHOW {setting}")) == ("on", "off")


def test_a_cluster_lies_where_it_is_to_and_stays(postgres_data: Path) -> None:
    folder = postgres_data / "kept"
    with Postgres(data=folder) as before:
        assert ask(before, "SHOW data_directory") == str(folder)
        ask(before, "CREATE TABLE kept AS SELECT 7 AS number")
    with Postgres(data=folder) as after:
        assert ask(after, "SELECT number FROM kept") == 7


def test_a_servers_clock_is_off_by_a_constant(postgres_own: Postgres) -> None:
    before = time.time()
    told = float(ask(postgres_own, "SELECT extract(epoch FROM clock_timestamp())"))
    assert before <= told + DAY_S <= time.time()


def test_without_the_library_no_clock_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "LIBRARIES", tmp_path)
    with pytest.raises(Missing, match="apt-get install libfaketime"):
        Postgres(clock_offset_s=DAY_S)
