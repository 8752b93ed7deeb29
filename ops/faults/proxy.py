"""Proxies between the platform and its servers, which hold requests back, lose answers and break connections.

That of PostgreSQL follows protocol 3.0 as far as its messages ("Frontend/Backend Protocol" in PostgreSQL's manual): a
byte for the type, then four for the length, their own included; only the packet with which a client begins has no type.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

SOCKET = ".s.PGSQL.5432"
"""By this name libpq finds a server in a folder."""

ENCRYPTION = (80877103, 80877104)
"""Codes of packets that ask whether the server encrypts, by TLS or GSSAPI."""

STATEMENTS = (b"Q", b"E")
"""Types of what has a statement carried out: a simple query; Execute, of the extended protocol."""

COMMITTED = b"C\0\0\0\x0bCOMMIT\0"
"""CommandComplete of a COMMIT, however that was sent; where the transaction had failed, the server says ROLLBACK."""

READ_BYTES = 1 << 16


class _Proxy(ABC):
    """A listener with a server behind it, in a thread of its own.

    While the server is away, whoever connects is cut off, and so is whoever was connected. What is under way when
    either side ends is lost.

    Attributes:
        delay_s: Seconds for which what clients ask is held back before the server gets it; 0 at first.
    """

    def __init__(self) -> None:
        self.delay_s = 0.0
        self._connections: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = runner.get_loop()
        self._thread = threading.Thread(target=_run, args=(runner,), name=type(self).__name__, daemon=True)
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._listener.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Cut every connection, also where something is held back, which the server then never gets."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    async def _cut(self) -> None:
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        connection = self._loop.create_task(self._connect(from_client, to_client))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _connect(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Carry what comes both ways until one side is gone, then close the other."""
        with ExitStack() as ends:
            ends.callback(to_client.transport.abort)
            try:
                from_server, to_server = await self._reach(from_client, to_client)
                ends.callback(to_server.transport.abort)
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._ask(from_client, to_server))
                    ways.create_task(self._answer(from_server, to_client))
            except* (OSError, EOFError):
                pass

    @abstractmethod
    async def _listen(self) -> asyncio.Server:
        """Listen, with `_accept` for who connects."""

    @abstractmethod
    async def _reach(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the server for a client that has just come."""

    @abstractmethod
    async def _ask(self, from_client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        """Carry what a client asks, until it is gone."""

    @abstractmethod
    async def _answer(self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Carry what the server answers, until it is gone."""


class DatabaseProxy(_Proxy):
    """Between the platform and its PostgreSQL.

    A client in the same process must wait without Python's interpreter lock, as psycopg does but for the blocking calls
    of its `pq`: holding it, the client would keep the proxy from answering.

    Args:
        server_folder: Where the server's socket is, see `Postgres.folder`.

    Attributes:
        folder: Where the proxy's own is.
        delay_s: Seconds for which each statement is held back.
        commits_cut: COMMITs whose answers were cut, so far.
    """

    def __init__(self, server_folder: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="cn-proxy-", dir="/tmp"))  # a socket's path must be short
        # Written by one thread alone each: what was cut by the proxy's, up to where to cut by the caller's.
        self.commits_cut = 0
        self._cut_up_to = 0
        self._server_socket = server_folder / SOCKET

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        shutil.rmtree(self.folder)

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of a database of the server, by way of the proxy."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def cut_commits(self, count: int) -> None:
        """Cut the answers to the next `count` COMMITs: the server has done each, and the client's connection breaks.

        With 0 what is left of an earlier call is called off.
        """
        self._cut_up_to = self.commits_cut + count

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._accept, self.folder / SOCKET)

    async def _reach(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        begin = await _beginning(from_client, to_client)
        from_server, to_server = await asyncio.open_unix_connection(self._server_socket)
        to_server.write(begin)
        return from_server, to_server

    async def _ask(self, from_client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        client = _Messages(from_client)
        while True:
            messages = await client.read()
            held_s = self.delay_s * sum(message[:1] in STATEMENTS for message in messages)
            if held_s:
                await asyncio.sleep(held_s)
            to_server.writelines(messages)
            await to_server.drain()

    async def _answer(self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server = _Messages(from_server)
        while True:
            messages = await server.read()
            if COMMITTED in messages and self.commits_cut < self._cut_up_to:
                self.commits_cut += 1
                raise ConnectionAbortedError
            to_client.writelines(messages)
            await to_client.drain()


class BlobProxy(_Proxy):
    """Between the platform and its blob service, over TCP on the loopback interface.

    Args:
        server_port: Of the service.

    Attributes:
        port: Its own, while it runs.
        delay_s: Seconds for which each piece of a request is held back.
        away: Whether who connects is cut off; `cut` does that to who is connected.
    """

    def __init__(self, server_port: int) -> None:
        super().__init__()
        self.port = 0
        self.away = False
        self._server_port = server_port

    async def _listen(self) -> asyncio.Server:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        return listener

    async def _reach(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.away:
            raise ConnectionRefusedError
        return await asyncio.open_connection("127.0.0.1", self._server_port)

    async def _ask(self, from_client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        await self._carry(from_client, to_server, held=True)

    async def _answer(self, from_server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await self._carry(from_server, to_client)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, held: bool = False) -> None:
        while piece := await source.read(READ_BYTES):
            if held and self.delay_s:
                await asyncio.sleep(self.delay_s)
            target.write(piece)
            await target.drain()
        raise EOFError


class _Messages:
    """Messages out of a stream, in which they come in pieces."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._rest = b""

    async def read(self) -> list[bytes]:
        """Those that have come whole since the last call, at least one.

        Raises:
            EOFError: The stream has ended.
            OSError: It broke.
        """
        whole: list[bytes] = []
        while not whole:
            piece = await self._stream.read(READ_BYTES)
            if not piece:
                raise EOFError
            data, begin = self._rest + piece, 0
            while (end := _end(data, begin)) <= len(data):
                whole.append(data[begin:end])
                begin = end
            self._rest = data[begin:]
        return whole


def _end(data: bytes, begin: int) -> int:
    """Where the message ends that begins there: behind the data, too, where its length has not come whole."""
    return begin + 1 + max(4, int.from_bytes(data[begin + 1 : begin + 5]))


async def _beginning(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> bytes:
    """The packet with which a client begins: a connection's parameters, or what is to be cancelled.

    One that asks for encryption before is told that there is none, as on every Unix socket.
    """
    while True:
        head = await from_client.readexactly(8)
        packet = head + await from_client.readexactly(int.from_bytes(head[:4]) - len(head))
        if int.from_bytes(head[4:]) not in ENCRYPTION:
            return packet
        to_client.write(b"N")


def _run(runner: asyncio.Runner) -> None:
    with runner:  # which ends what is under way
        runner.get_loop().run_forever()
