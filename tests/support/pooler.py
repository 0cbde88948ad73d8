"""A pooler in front of a PostgreSQL server, on loopback: in session mode, or in transaction mode as poolers are today.

In transaction mode all clients share one connection to the server, each for one transaction at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_TLS_REQUEST = struct.pack("!ii", 8, 80877103)
_PROCESS_OF_POOLER = itertools.count(1_000_000)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read a message with its type."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


async def _startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        length = await reader.readexactly(4)
        message = length + await reader.readexactly(struct.unpack("!i", length)[0] - 4)
        if message != _TLS_REQUEST:
            return message
        writer.write(b"N")


class _Server:
    """A connection to the server; `greeting` is what it has answered to the startup message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.greeting: list[bytes] = []
        self.free = asyncio.Lock()

    @classmethod
    async def open(cls, socket: Path, startup: bytes) -> _Server:
        server = cls(*await asyncio.open_unix_connection(str(socket)))
        server._writer.write(startup)
        while not server.greeting or server.greeting[-1][:1] != b"Z":
            server.greeting.append(await _message(server._reader))
        return server

    async def serve(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Exchange the messages of a transaction, which begins with the client's `first`."""
        asked = answered = 0
        state = b"I"

        async def answer() -> None:
            nonlocal answered, state
            while True:
                message = await _message(self._reader)
                writer.write(message)
                if message[:1] == b"Z":
                    answered, state = answered + 1, message[5:]
                    if answered == asked and state == b"I":
                        return

        message, answering = first, asyncio.ensure_future(answer())
        try:
            while True:
                self._writer.write(message)
                asked += message[:1] in b"QS"
                reading = asyncio.ensure_future(_message(reader))
                await asyncio.wait([reading, answering], return_when=asyncio.FIRST_COMPLETED)
                if answering.done():
                    # The message that may have been begun is read to its end, since nothing else reads it.
                    self.next = reading
                    return
                message = await reading
        finally:
            answering.cancel()

    next: asyncio.Future[bytes] | None = None

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def pooler(database: str, *, transaction_mode: bool) -> AsyncIterator[str]:
    """Run a pooler in front of the server of a DSN, and yield the DSN that leads through it."""
    parts = urlsplit(database)
    socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
    shared: list[_Server] = []
    opened: list[_Server] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            startup = await _startup(reader, writer)
            if not shared or not transaction_mode:
                shared[:] = [await _Server.open(socket, startup)]
                opened.extend(shared)
            server = shared[0]
            for message in server.greeting:
                is_key = message[:1] == b"K"
                writer.write(message[:5] + struct.pack("!ii", next(_PROCESS_OF_POOLER), 0) if is_key else message)
            reading = asyncio.ensure_future(_message(reader))
            while (first := await reading)[:1] != b"X":
                async with server.free:
                    await server.serve(first, reader, writer)
                    assert server.next is not None
                    reading = asyncio.ensure_future(server.next)
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"postgresql://postgres@127.0.0.1:{port}{parts.path}?sslmode=disable"
    for each in opened:
        each.close()
