"""The thread in which a file is read, hashed and written, and repeating what a file refuses for a while."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from ekb_async.aio.tasks import await_uncancelled
from ekb_async.errors import BacklogBusyError, ConfigError, StorageError
from ekb_async.storage.sqlite.errors import is_locked
from ekb_async.storage.timing import StorageTiming

P = ParamSpec("P")
T = TypeVar("T")


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


class Worker:
    """One thread that executes one function at a time, in the order of the requests.

    `on_cancel` is called when a caller that waits for the end of a function is cancelled.
    """

    def __init__(self, path: Path, on_cancel: Callable[[], object] | None = None) -> None:
        self._path = path
        self._on_cancel = on_cancel
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ekb-backlog")
        self._closed = False
        self._process = os.getpid()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the function returns. A cancelled caller waits for its end too, so that no change is cut off.

        Raises `StorageError` if the backlog file cannot be read or written, `BacklogBusyError` if another program has
        locked it, `ConfigError` if it is closed, or was opened before this process was forked.
        """
        if self._closed:
            raise ConfigError(f"{self._path}: this backlog is closed")
        if self._process != os.getpid():
            # The thread has stayed in the other process, so nothing would ever answer.
            raise ConfigError(f"{self._path}: open this backlog again in a process that was forked")
        try:
            work = asyncio.wrap_future(self._executor.submit(function, *args, **kwargs))
            return await await_uncancelled(work, self._on_cancel)
        except sqlite3.Error as error:
            raised = BacklogBusyError if is_locked(error) else StorageError
            raise raised(f"{self._path}: the backlog cannot be read or written: {error}") from error

    async def open(self, function: Callable[P, C], *args: P.args, **kwargs: P.kwargs) -> C:
        """Return what the function opens; it is closed if the caller is cancelled meanwhile. Raises as `call` does."""
        opened: list[C] = []
        try:
            await self.call(lambda: opened.append(function(*args, **kwargs)))
        except asyncio.CancelledError:
            for each in opened:
                await self.call(each.close)
            raise
        return opened[0]

    def close(self) -> None:
        """End the thread, which must have nothing left to do."""
        self._closed = True
        self._executor.shutdown()


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


@asynccontextmanager
async def opened_in_thread(
    opening: Callable[[], C], path: str | PathLike[str], on_cancel: Callable[[], object] | None = None
) -> AsyncIterator[tuple[C, Worker]]:
    """Yield what a function opens, and the thread of its own that it is used and closed in; `path` names it."""
    worker = Worker(Path(path), on_cancel)
    try:
        opened = await worker.open(opening)
        try:
            yield opened, worker
        finally:
            await worker.call(opened.close)
    finally:
        worker.close()
