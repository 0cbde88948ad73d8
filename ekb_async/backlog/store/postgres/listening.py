"""Notifications of calls that have ended, see the trigger in migration 0005_operating.sql."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from ekb_async.aio.tasks import cancel_and_wait, start_task
from ekb_async.backlog.store.postgres.sql import result_sql
from ekb_async.errors import EkbError
from ekb_async.storage.limits import LIMITS
from ekb_async.storage.postgres.database import Database


class Notifications:
    """Receives notifications on a connection of its own, which is opened again if it is lost."""

    def __init__(self, dsn: str, reconnect: float) -> None:
        self._dsn = dsn
        self._reconnect = reconnect
        self._arrived = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        self._arrived.clear()

    @contextlib.asynccontextmanager
    async def received(self) -> AsyncIterator[None]:
        """Receive notifications during the block."""
        task = start_task(self._receive(), asyncio.get_running_loop(), name="ekb notifications")
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def _receive(self) -> None:
        async with Database(self._dsn, "leases") as database:
            while True:
                # Without notifications, what has ended is found later.
                with contextlib.suppress(EkbError):
                    async with database.connection(closed_after=True) as connection:
                        await self._listen(connection)
                await asyncio.sleep(self._reconnect)

    async def _listen(self, connection: Any) -> None:
        """Listen as long as the connection lasts."""
        lost = asyncio.Event()
        channel = await connection.fetchval(result_sql.CHANNEL, timeout=LIMITS.answer_timeout_seconds)
        connection.add_termination_listener(lambda *_: lost.set())
        async with asyncio.timeout(LIMITS.answer_timeout_seconds):
            await connection.add_listener(channel, lambda *_: self._arrived.set())
        # What was committed before is found by a look.
        self._arrived.set()
        await lost.wait()
