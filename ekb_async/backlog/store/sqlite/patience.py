"""Retrying what a backlog file refuses for a while.

Another program may hold the file's lock, or the disk may be full. A run that failed with that error would lose answers
that were paid for, so runs retry for longest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ekb_async.errors import ConfigError
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")


async def retried(
    attempt: Callable[[], Awaitable[T]],
    patience: float,
    timing: StorageTiming,
    is_retryable: Callable[[BaseException | None], bool],
) -> T:
    """Return the result of an attempt, repeated for up to `patience` seconds while its error is temporary.

    `is_retryable` is called with the cause of a `ConfigError`. Raises the error of the last attempt.
    """
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + patience, timing.first_retry
    while True:
        try:
            return await attempt()
        except ConfigError as error:
            if not is_retryable(error.__cause__) or loop.time() + pause > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, timing.longest_retry)
