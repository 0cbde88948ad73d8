"""Ownership of background tasks: a task is referenced by its owner until it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class TaskScope:
    """A set of tasks that end no later than their owner.

    Unlike `asyncio.TaskGroup`, it can be closed from any task, and the failure of one task does not end the others: the
    calls of a session are independent of each other.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, work: Coroutine[Any, Any, T], *, name: str, on_end: Callable[[asyncio.Task[T]], None] | None = None
    ) -> asyncio.Task[T]:
        """Start a task that belongs to this scope; `on_end` is called with the task when it has ended."""
        task = start_task(work, self._loop, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard if on_end is None else functools.partial(self._ended, on_end))
        return task

    def _ended(self, on_end: Callable[[asyncio.Task[T]], None], task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        on_end(task)

    async def finish(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the tasks, then cancel the others and wait until they have ended.

        A cancelled caller waits as well.
        """
        if self._tasks:
            await await_uncancelled(start_task(self._finish(timeout), self._loop, name="ekb finish"))

    async def _finish(self, timeout: float) -> None:
        # The last task may have ended in the loop iteration in which this one started.
        if self._tasks and timeout > 0:
            await asyncio.wait(self._tasks, timeout=timeout)
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def start_task(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop, *, name: str) -> asyncio.Task[T]:
    """Start a task that runs from the next loop iteration on, when its owner holds a reference to it."""
    # The loop's task factory is not used: an eager one runs the task before it returns it.
    return asyncio.Task(work, loop=loop, name=name)


async def await_uncancelled(work: asyncio.Future[T], on_cancel: Callable[[], object] | None = None) -> T:
    """Return the result of work that must not be interrupted: a cancelled caller waits until the work has ended.

    `on_cancel` is called once, however often the caller is cancelled: a cancel scope of anyio repeats its cancellation
    in every loop iteration.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if on_cancel is not None and not work.done():
            on_cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await until_ended(work)
        _retrieve(work)
        raise


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread and return its result; a cancelled caller waits until it has returned."""
    call = functools.partial(function, *args, **kwargs)
    try:
        running = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:
        # Python has ended its executors because the program ends: `atexit` functions run afterwards.
        return call()
    return await await_uncancelled(running)


async def until_ended(work: asyncio.Future[Any]) -> None:
    """Wait until work has ended, with any result; a cancelled caller waits as well, and is cancelled then."""
    cancellation: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancellation = cancellation or error
    if cancellation is not None:
        raise cancellation


async def cancel_and_wait(work: asyncio.Future[Any]) -> None:
    """Cancel work whose result is not needed, and wait until it has ended; its error is not logged then."""
    work.cancel()
    await asyncio.wait([work])
    _retrieve(work)


def _retrieve(work: asyncio.Future[Any]) -> None:
    """Retrieve the error of work that has ended, which keeps asyncio from logging it as never retrieved."""
    if not work.cancelled():
        work.exception()


def is_being_cancelled() -> bool:
    """Return whether the current task is being cancelled itself, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
