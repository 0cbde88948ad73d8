"""A transport that gives every call the same answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply

TOKEN = "ID01abcdefghij:djg8klmnopqrst"


class FixedAnswer:
    """A transport that answers the token call with `TOKEN` and every other call with one status and body."""

    def __init__(self, status: int, body: bytes) -> None:
        self._reply = Reply(status, {}, body)

    async def send(
        self, request: Request[object], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        on_sent()
        if token is None:
            return Reply(200, {}, b'{"value":{"accessToken":"%b","refreshToken":"R%b"}}' % ((TOKEN.encode(),) * 2))
        return self._reply

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        pass
