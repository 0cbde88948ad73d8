"""Which trouble with a backlog file passes, and trying again until it has.

Another program may hold the file's lock, and a disk may be full for a while. A run that met an error then would lose
answers that have been paid for, so it waits longest.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ekb_async.errors import ConfigError
from ekb_async.storage.timing import StorageTiming

T = TypeVar("T")

_SQLITE_BUSY, _SQLITE_IOERR, _SQLITE_FULL, _SQLITE_PROTOCOL = 5, 10, 13, 15


async def tried(
    attempt: Callable[[], Awaitable[T]],
    patience: float,
    timing: StorageTiming,
    passes: Callable[[BaseException | None], bool],
) -> T:
    """Return what an attempt brings; one that failed for what `passes` is made again for `patience` seconds.

    Raises what the last attempt raised.
    """
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + patience, timing.first_retry
    while True:
        try:
            return await attempt()
        except ConfigError as error:
            if not passes(error.__cause__) or loop.time() + pause > deadline:
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, timing.longest_retry)


def is_locked(error: BaseException | None) -> bool:
    """Return whether another program holds a lock."""
    return _code(error) in {_SQLITE_BUSY, _SQLITE_PROTOCOL}


def may_pass(error: BaseException | None) -> bool:
    """Return whether the file may be written a while later: it is locked, or the disk is full or in trouble."""
    return is_locked(error) or _code(error) in {_SQLITE_FULL, _SQLITE_IOERR}


def _code(error: BaseException | None) -> int | None:
    # The lower byte is the kind, the others say more of it.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else None
