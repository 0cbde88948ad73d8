"""Ownership of work in the background: whoever starts some keeps it until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
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
        """Waits up to `timeout` seconds for the tasks, then cancels the rest and waits until they have ended."""
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


async def see_out(work: asyncio.Future[T]) -> T:
    """The result of work in a thread. A cancelled caller waits until it has ended, since nothing can stop it."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        # Asking for an error that nobody waits for any more marks it as seen.
        work.exception()
        raise
