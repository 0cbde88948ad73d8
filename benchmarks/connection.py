"""A connection to a server that speaks as much HTTP/1.1 as the clients here do.

Requests have a Content-Length, connections stay open, and nobody sends a second request before the first is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Connection(asyncio.Protocol):
    """What a server has of a client. Each server says in `answer` what it does with a request."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def answer(self, target: str, content: bytes) -> None:
        """Is called with a request's path and query, and its body; sends an answer now or later."""
        raise NotImplementedError

    def send(self, content: bytes, status: str = "200 OK") -> None:
        """Sends a body of JSON; to nobody, if the client is gone."""
        if self._transport is not None:
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            self._transport.write(head.encode() + content)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _content_length(head)
        if len(rest) < length:
            return
        self._received = rest[length:]
        self.answer(head.split(b" ", 2)[1].decode(), rest[:length])


@asynccontextmanager
async def listening(connection: Callable[[], Connection]) -> AsyncIterator[str]:
    """Serves on loopback; the server's address."""
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, backlog=1024)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
