"""A transport without a network: every request is answered at once, in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.replies import Reply


class AnswersAtOnce:
    """Answers each request with status 200 and the body that `answer` returns for it."""

    def __init__(self, answer: Callable[[Request[Any]], bytes]) -> None:
        self._answer = answer

    async def send(
        self, request: Request[Any], *, token: str | None, timeout: float, on_sent: Callable[[], None]
    ) -> Reply:
        on_sent()
        return Reply(200, {}, self._answer(request))

    async def download(self, url: str, *, timeout: float, write: Callable[[bytes], Awaitable[None]]) -> Reply:
        raise NotImplementedError("nothing is downloaded here")

    async def close(self) -> None:
        """Do nothing, since nothing is open."""
