"""A server's connection that supports just the HTTP/1.1 that the clients here use.

Requests have a Content-Length, connections stay open, and no client sends a request before the previous one is
answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Connection(asyncio.Protocol):
    """A server's side of one connection; each server implements `answer`."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def answer(self, target: str, content: bytes) -> None:
        """Handle a request, given its path with query and its body; call `send` now or later."""
        raise NotImplementedError

    def send(self, content: bytes, status: str = "200 OK") -> None:
        """Send a body of JSON, unless the client has disconnected."""
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
    """Serve on loopback, and yield the server's address."""
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
