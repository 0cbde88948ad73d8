"""Passes the results of calls that a worker has recorded to a function of the user.

The function is called after the record is on disk, and no call waits for it. Results wait here as numbers of calls and
are read when their turn comes. What waits when the process ends is lost; `Backlog.completions` loses nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from ekb_async.aio.tasks import TaskScope, in_thread, is_being_cancelled
from ekb_async.backlog.results.completions import Completion, completion_of
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.reading.ended import EndedCall, ended_calls
from ekb_async.errors import ConfigError, EkbError
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.redaction.log_lines import OneLine

OnResult = Callable[[Completion], Awaitable[object] | object]
"""A function of a result, or a coroutine function; a function that is none is called in a thread."""

_log = logging.getLogger("ekb_async.engines")


def checked_on_result(on_result: OnResult | None) -> OnResult | None:
    """Return the argument. Raises `ConfigError` if it cannot be called."""
    if on_result is not None and not callable(on_result):
        raise ConfigError(f"on_result must be a function of a result, not {type(on_result).__name__}")
    return on_result


class ResultPassing:
    """Passes results on, some at a time; without a function, does nothing."""

    def __init__(self, store: CallStore, on_result: OnResult | None, close_timeout: float) -> None:
        self._store = store
        self._on_result = on_result
        self._close_timeout = close_timeout
        self._closes_at: float | None = None
        self._waiting: deque[int] = deque()
        self._unpassed = 0
        self._at_once = 0
        self._scope = TaskScope()

    def note(self, call_ids: Iterable[int]) -> None:
        """Pass on the results of calls whose end is recorded."""
        if self._on_result is None:
            return
        self._waiting.extend(call_ids)
        for _ in range(min(len(self._waiting), LIMITS.results_passed_at_once - self._at_once)):
            self._at_once += 1
            self._scope.start(self._pass_on(self._on_result), name="ekb results")

    def begin_close(self) -> None:
        """Let the time run that the worker has to close."""
        self._closes_at = asyncio.get_running_loop().time() + self._close_timeout

    async def close(self) -> None:
        """Wait for results that are not passed on yet, until the time to close is over."""
        left = 0.0 if self._closes_at is None else self._closes_at - asyncio.get_running_loop().time()
        # While there is a task, it takes all that waits.
        await self._scope.finish(max(0.0, left))
        unpassed = self._unpassed + len(self._waiting)
        if unpassed:
            _log.warning("the worker has ended before %d results were passed to on_result", unpassed)

    async def _pass_on(self, on_result: OnResult) -> None:
        try:
            while self._waiting:
                share = len(self._waiting) // LIMITS.results_passed_at_once
                some = [self._waiting.popleft() for _ in range(max(1, min(share, LIMITS.results_read_at_once)))]
                self._unpassed += len(some)
                calls = await self._read(some)
                # A call may have been made pending again, or removed.
                self._unpassed -= len(some) - len(calls)
                for call in calls:
                    await _call(on_result, await in_thread(completion_of, call))
                    self._unpassed -= 1
        finally:
            self._at_once -= 1

    async def _read(self, call_ids: list[int]) -> list[EndedCall]:
        try:
            return await ended_calls(self._store, call_ids)
        except EkbError as error:
            _log.error("%d results were not passed to on_result: %s", len(call_ids), OneLine(error))
            return []


async def _call(on_result: OnResult, result: Completion) -> None:
    """Call the function; its errors are logged."""
    try:
        if _is_async(on_result):
            passed = on_result(result)
        else:
            passed = await in_thread(on_result, result)
        if inspect.isawaitable(passed):
            await passed
    except asyncio.CancelledError:
        if is_being_cancelled():
            raise
        _log.error("on_result of call %d was cancelled", result.call_id)
    except Exception as error:  # noqa: BLE001 - the worker goes on after any error of the function
        _log.error("on_result of call %d failed: %s: %s", result.call_id, type(error).__name__, OneLine(error))


def _is_async(function: object) -> bool:
    """Return whether a function is a coroutine function, or an object whose class has one to call it."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(vars(type(function)).get("__call__"))
