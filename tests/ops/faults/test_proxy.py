"""The proxy before a real PostgreSQL, asked by a real client."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import psycopg
import pytest
import sqlalchemy as sa

from ops.faults.proxy import ENCRYPTION, READ_BYTES, SOCKET, BlobProxy, DatabaseProxy
from ops.services import Postgres


@pytest.fixture
def proxy(postgres: Postgres) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(postgres.folder) as proxy:
        yield proxy


@pytest.fixture
def direct(postgres: Postgres) -> Iterator[psycopg.Connection]:
    """Past the proxy, with a table to write to."""
    with closing(connect(postgres.folder, autocommit=True)) as connection:
        connection.execute("CREATE TABLE noted (word text)")
        yield connection
        connection.execute("DROP TABLE noted")


def connect(folder: Path, autocommit: bool = False) -> psycopg.Connection:
    return psycopg.connect(host=str(folder), user="postgres", dbname="postgres", autocommit=autocommit)


def note(connection: psycopg.Connection, word: str) -> None:
    connection.execute("INSERT INTO noted VALUES (%s)", (word,))


def noted(connection: psycopg.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM noted ORDER BY word")]


def commit_prepared(connection: psycopg.Connection) -> None:
    connection.execute("COMMIT", prepare=True)


def commit_in_a_pipeline(connection: psycopg.Connection) -> None:
    with connection.pipeline():
        connection.commit()


def test_its_url_names_a_database_of_the_server(proxy: DatabaseProxy) -> None:
    engine = sa.create_engine(proxy.url("template1"))
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT current_database()").scalar() == "template1"
    engine.dispose()


def test_messages_larger_than_a_read_arrive_whole(proxy: DatabaseProxy) -> None:
    word = "word" * READ_BYTES
    with closing(connect(proxy.folder)) as connection:
        assert connection.execute("SELECT %s", (word,)).fetchone() == (word,)


@pytest.mark.parametrize("commit", [psycopg.Connection.commit, commit_prepared, commit_in_a_pipeline])
def test_a_commit_whose_answer_is_cut_was_done(
    proxy: DatabaseProxy, direct: psycopg.Connection, commit: Callable[[psycopg.Connection], None]
) -> None:
    proxy.cut_commits(1)
    with closing(connect(proxy.folder)) as connection:
        note(connection, "a")
        with pytest.raises(psycopg.OperationalError):
            commit(connection)
        assert connection.closed
    assert noted(direct) == ["a"]


def test_as_many_commits_are_cut_as_were_to_be(proxy: DatabaseProxy, direct: psycopg.Connection) -> None:
    proxy.cut_commits(2)
    for word in ("a", "b"):
        with closing(connect(proxy.folder)) as connection:
            note(connection, word)
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
    with closing(connect(proxy.folder)) as connection:
        note(connection, "c")
        connection.commit()
    assert (noted(direct), proxy.commits_cut) == (["a", "b", "c"], 2)


def test_cutting_can_be_called_off(proxy: DatabaseProxy, direct: psycopg.Connection) -> None:
    proxy.cut_commits(1)
    proxy.cut_commits(0)
    with closing(connect(proxy.folder)) as connection:
        note(connection, "a")
        connection.commit()
    assert proxy.commits_cut == 0


def test_the_end_of_a_transaction_that_failed_is_no_commit(proxy: DatabaseProxy, direct: psycopg.Connection) -> None:
    proxy.cut_commits(1)
    with closing(connect(proxy.folder)) as connection:
        note(connection, "a")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT word FROM nowhere")
        connection.commit()
    assert (noted(direct), proxy.commits_cut) == ([], 0)


def test_notifications_arrive(proxy: DatabaseProxy, direct: psycopg.Connection) -> None:
    with closing(connect(proxy.folder, autocommit=True)) as connection:
        connection.execute("LISTEN proxied")
        direct.execute("NOTIFY proxied, 'a'")
        assert [notice.payload for notice in connection.notifies(timeout=60, stop_after=1)] == ["a"]


def test_a_statement_can_be_cancelled(proxy: DatabaseProxy, direct: psycopg.Connection) -> None:
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    with closing(connect(proxy.folder)) as connection, ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(connection.execute, "SELECT pg_sleep(60)")
        while direct.execute(asleep, (connection.info.backend_pid,)).fetchone() == (0,):
            pass
        connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result()


def test_a_restart_of_the_server_is_survived(proxy: DatabaseProxy, postgres: Postgres) -> None:
    with closing(connect(proxy.folder)) as connection:
        postgres.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError):
            connect(proxy.folder)
        postgres.start()
    with closing(connect(proxy.folder)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_every_statement_is_held_back(proxy: DatabaseProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []

    async def hold(seconds: float) -> None:
        held.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", hold)
    proxy.delay_s = 7
    with closing(connect(proxy.folder)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.execute("SELECT %s", (2,)).fetchone() == (2,)
        connection.commit()
    assert held == [7, 7, 7, 7]  # BEGIN is one, too


def test_all_connections_are_cut(proxy: DatabaseProxy) -> None:
    with closing(connect(proxy.folder)) as one, closing(connect(proxy.folder)) as other:
        proxy.cut()
        for connection in (one, other):
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")


def test_a_statement_that_is_held_back_when_its_connection_is_cut_is_never_done(
    proxy: DatabaseProxy, direct: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding = threading.Event()

    async def hold(seconds: float) -> None:
        holding.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "sleep", hold)
    with closing(connect(proxy.folder, autocommit=True)) as connection, ThreadPoolExecutor(1) as pool:
        proxy.delay_s = 7
        writing = pool.submit(note, connection, "a")
        holding.wait()
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            writing.result()
    assert noted(direct) == []


@pytest.mark.parametrize("code", ENCRYPTION)
def test_who_asks_for_encryption_goes_on_without(proxy: DatabaseProxy, code: int) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(proxy.folder / SOCKET))
        client.sendall(struct.pack("!II", 8, code))
        assert client.recv(1) == b"N"
        parameters = b"user\0postgres\0\0"
        client.sendall(struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters)
        assert client.recv(1) == b"R"  # it is authenticated


def test_nothing_is_left_at_its_end(postgres: Postgres) -> None:
    with DatabaseProxy(postgres.folder) as proxy:
        connection = connect(proxy.folder)
    with closing(connection), pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    assert not proxy.folder.exists()


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(READ_BYTES):
            self.request.sendall(data)


@pytest.fixture
def blobs() -> Iterator[BlobProxy]:
    """Before a server that says what it is told."""
    with ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with BlobProxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()


def echo(connection: socket.socket, word: bytes) -> bytes:
    """What comes back; nothing where the connection was cut."""
    try:
        connection.sendall(word)
        return connection.recv(READ_BYTES)
    except ConnectionError:
        return b""


def test_a_blob_service_is_reached(blobs: BlobProxy) -> None:
    with socket.create_connection(("127.0.0.1", blobs.port)) as connection:
        assert echo(connection, b"word") == b"word"


def test_a_blob_service_that_is_away_cuts_off_who_comes_and_who_is_there(blobs: BlobProxy) -> None:
    with socket.create_connection(("127.0.0.1", blobs.port)) as there:
        assert echo(there, b"word") == b"word"
        blobs.away = True
        blobs.cut()
        assert echo(there, b"word") == b""
    with socket.create_connection(("127.0.0.1", blobs.port)) as new:
        assert echo(new, b"word") == b""
    blobs.away = False
    with socket.create_connection(("127.0.0.1", blobs.port)) as back:
        assert echo(back, b"word") == b"word"


def test_a_slow_blob_service_gets_requests_late(blobs: BlobProxy) -> None:
    blobs.delay_s = 0.2
    with socket.create_connection(("127.0.0.1", blobs.port)) as connection:
        began = time.monotonic()
        assert echo(connection, b"word") == b"word"
        assert time.monotonic() - began >= 0.2
