"""What stands in for a PostgreSQL server, or for a pooler in front of it, and refuses a connection."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_TLS_REQUEST_BYTES = 8


def with_tls(context: ssl.SSLContext) -> Peer:
    """Return a server that agrees to use TLS with a certificate."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(_TLS_REQUEST_BYTES)
        writer.write(b"S")
        await writer.start_tls(context)

    return greet


async def without_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Decline to use TLS."""
    await reader.readexactly(_TLS_REQUEST_BYTES)
    writer.write(b"N")
    await writer.drain()


def refusing(code: str, message: str) -> Peer:
    """Return a server, or a pooler, that answers each connection with an error."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        await reader.readexactly(length - 4)
        fields = b"".join(
            kind + text.encode() + b"\0" for kind, text in ((b"S", "FATAL"), (b"C", code), (b"M", message))
        )
        writer.write(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
        await writer.drain()

    return refuse


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[int]:
    """Run a peer on loopback and yield its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
