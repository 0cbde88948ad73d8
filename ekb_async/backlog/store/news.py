"""Waiting until a backlog may have changed, for programs that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from ekb_async.errors import EkbError


class News(Protocol):
    """Shows that calls may have ended."""

    async def wait(self, seconds: float) -> None:
        """Return when calls may have ended, and after `seconds` in any case."""
        ...


class LookedForNews:
    """Looks every `interval` seconds whether anything was changed."""

    def __init__(self, changes: Callable[[], Awaitable[object]], interval: float) -> None:
        self._changes = changes
        self._interval = interval
        self._before: object = None

    async def wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(self._interval, left))
            try:
                changes = await self._changes()
            except EkbError:
                return  # what waits finds out why
            if changes is None or changes != self._before:
                self._before = changes
                return
