"""Statements of an engine that meet a lost connection, or a database that is away for a moment.

An engine gives up its worker at the first statement that fails, which costs a restart, and the wakeups of the worker
are handed out again only after a timeout. So its statements are repeated for a while. One whose answer was lost may be
executed twice. Then a wakeup may be handed out twice, or only after a timeout, and both can happen in any case.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from ekb_async.ext.engines.limits import LIMITS

_log = logging.getLogger("ekb_async.engines")

P = ParamSpec("P")
T = TypeVar("T")


def repeated(statement: Callable[P, Awaitable[T]], is_away: Callable[[Exception], bool]) -> Callable[P, Awaitable[T]]:
    """Return the function that executes a statement, repeated while its errors show that the database is away."""

    async def execute(*args: P.args, **kwargs: P.kwargs) -> T:
        now = asyncio.get_running_loop().time
        until, pause = now() + LIMITS.statement_patience_seconds, LIMITS.statement_pause_seconds
        while True:
            try:
                return await statement(*args, **kwargs)
            except Exception as error:
                if not is_away(error) or now() + pause > until:
                    raise
                _log.debug("a statement of the engine is repeated: %s", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LIMITS.longest_statement_pause_seconds)

    return execute
