"""Records during a run which calls are about to be sent, and the results of calls.

There is one transaction at a time; whatever arrives meanwhile goes into the next. A billed call is sent only after its
mark is on disk: whatever happens next, the backlog has a record that the call may be billed, and while nothing can be
written, nothing is billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ekb_async.backlog.store.call_store import CallResult, CallStore, SentMark
from ekb_async.errors import ConfigError, EkbError, StorageError


class TakenOverError(EkbError):
    """Raised when this run was considered dead and another run has taken over a call. It never leaves this package."""


class Recorder:
    """Writes the marks and results of a run, in the order in which they arrive."""

    def __init__(self, store: CallStore) -> None:
        self.run_id = 0
        self.news = asyncio.Event()
        """Set when something was written, or when the reason why no calls are made may have changed."""
        self.broken_off = 0
        """The number of billed calls that were sent and broken off before they were answered."""
        self._store = store
        self._marks: list[SentMark] = []
        self._results: list[CallResult] = []
        self._taken_over: set[int] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._work = asyncio.Event()
        self._closed = False
        self._problem: ConfigError | None = None

    async def mark(self, call_id: int, unconfirmed: int) -> None:
        """Return once the mark of a call is on disk, so that it may be sent.

        `unconfirmed` counts the attempts without an answer, including the one about to be sent. Raises `ConfigError` if
        the mark cannot be written, `TakenOverError` if the call must not be sent.
        """
        self._marks.append(SentMark(call_id, unconfirmed))
        await self.flush()
        if call_id in self._taken_over:
            self._taken_over.discard(call_id)
            raise TakenOverError("another run has this call by now")

    def end(self, result: CallResult) -> None:
        """Queue the result of a call for writing."""
        self._results.append(result)
        self._work.set()

    async def flush(self) -> None:
        """Return once everything queued so far is on disk. Raises `ConfigError` if it cannot be written."""
        if self._problem is not None:
            raise self._problem.again()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._work.set()
        await waiter

    @property
    def has_results(self) -> bool:
        """Whether there are results that are not on disk yet and would be lost."""
        return bool(self._results)

    def close(self) -> None:
        """Let `write` end once everything is written; nothing may be added after that."""
        self._closed = True
        self._work.set()

    async def write(self, fail: Callable[[BaseException], None]) -> None:
        """Write until the recorder is closed. If writing fails, pass the error to `fail` and write nothing more."""
        while self._marks or self._results or self._waiters or not self._closed:
            await self._work.wait()
            self._work.clear()
            # Entries stay in their lists until they are on disk, so that `write_rest` finds the others.
            marks, results, waiters = self._marks.copy(), self._results.copy(), self._waiters.copy()
            try:
                self._taken_over |= set(await self._store.record(self.run_id, marks, results))
            except Exception as error:  # noqa: BLE001 - every error must be passed to the waiters
                self._fail(error)
                fail(error)
                return
            del self._marks[: len(marks)]
            del self._results[: len(results)]
            del self._waiters[: len(waiters)]
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self.news.set()

    async def write_rest(self) -> None:
        """Write the remaining results when nothing else runs. Marks can be dropped: their calls were not sent."""
        if self._results:
            await self._store.record(self.run_id, (), self._results, last=True)

    def _fail(self, error: Exception) -> None:
        self._problem = error if isinstance(error, ConfigError) else StorageError(f"nothing can be recorded: {error}")
        self._problem.for_all = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._problem.again())
        self._waiters.clear()
