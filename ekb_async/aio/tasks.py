"""Ownership of work in the background: whoever starts some keeps it until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class TaskScope:
    """Tasks that live no longer than their owner.

    Unlike `asyncio.TaskGroup` it is closed from any task and one failure does not end the others, which is what a
    session needs whose calls are independent of each other.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        task = started(work, self._loop, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def finish(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the tasks, then cancel the rest and wait until they have ended.

        A cancelled caller waits just so.
        """
        if self._tasks:
            await await_uncancelled(started(self._finish(timeout), self._loop, name="ekb finish"))

    async def _finish(self, timeout: float) -> None:
        # The last of them may have ended in the turn in which this began.
        if self._tasks and timeout > 0:
            await asyncio.wait(self._tasks, timeout=timeout)
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def started(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, *, name: str) -> asyncio.Task[T]:
    """A task that begins with the next turn of the loop, when its owner has it in hand."""
    # A loop's own factory may be an eager one, which begins before it returns the task.
    return asyncio.Task(work, loop=loop, name=name)


async def await_uncancelled(work: asyncio.Future[T], on_cancel: Callable[[], object] | None = None) -> T:
    """Return the result of work that is not to be broken off: a cancelled caller waits until it has ended.

    However often the caller is cancelled, it is one wish, for which `on_cancel` is called once: a cancel scope of anyio
    delivers its cancellation again at every turn of the loop.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if on_cancel is not None and not work.done():
            on_cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await until_ended(work)
        # Asking for an error that nobody waits for any more marks it as seen.
        if not work.cancelled():
            work.exception()
        raise


async def until_ended(work: asyncio.Future[Any]) -> None:
    """Return when work has ended, however it did; a cancelled caller waits just so, and is cancelled then."""
    wish: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            wish = wish or error
    if wish is not None:
        raise wish
