"""Polling, the one way in which tests wait for a state that no event announces."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

DEADLINE = 45.0
"""Seconds after which waiting fails; far more than is needed on a busy machine."""

_PAUSE = 0.02


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds. Raise `TimeoutError` at the deadline."""
    async with asyncio.timeout(DEADLINE):
        while not await holds():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(_PAUSE)


async def until_in_database(connection: Any, condition: str, *values: object) -> None:
    """Wait until an SQL condition holds in a database. Raise `TimeoutError` at the deadline."""

    async def holds() -> bool:
        return bool(await connection.fetchval(f"SELECT {condition}", *values))

    await until(holds)
