"""Writing down which calls leave and how calls end, while a run goes on.

One transaction at a time; whatever has come during one is the next. A billed call leaves when its mark is on the disk,
so that whatever happens next, the backlog knows that it may be billed, and while nothing can be written, nothing is
paid for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ekb_async.backlog.store.call_store import CallResult, CallStore, SentMark
from ekb_async.errors import ConfigError, EkbError


class TakenOverError(EkbError):
    """The run was taken for dead, and a call that it had claimed is another's. Nobody outside sees this."""


class Recorder:
    """What a run has to write, in the order in which it came."""

    def __init__(self, store: CallStore) -> None:
        self.run_id = 0
        self.news = asyncio.Event()
        """Set when something was written."""
        self.broken_off = 0
        """Billed calls that were sent, and broken off before they were answered."""
        self._store = store
        self._marks: list[SentMark] = []
        self._endings: list[CallResult] = []
        self._taken_over: set[int] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._work = asyncio.Event()
        self._closed = False
        self._problem: ConfigError | None = None

    async def mark(self, call_id: int, unconfirmed: int) -> None:
        """Returns when it is on the disk that a call leaves, `unconfirmed` of whose attempts will have no answer then.

        Raises `ConfigError` if it cannot be written, `TakenOverError` if the call must not leave.
        """
        self._marks.append(SentMark(call_id, unconfirmed))
        await self.flush()
        if call_id in self._taken_over:
            self._taken_over.discard(call_id)
            raise TakenOverError("another run has this call by now")

    def end(self, ending: CallResult) -> None:
        """Takes in how a call ended."""
        self._endings.append(ending)
        self._work.set()

    async def flush(self) -> None:
        """Returns when all that came so far is on the disk. Raises `ConfigError` if it cannot be written."""
        if self._problem is not None:
            raise self._problem.again()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._work.set()
        await waiter

    @property
    def has_endings(self) -> bool:
        """Whether something is not on the disk yet that would be lost."""
        return bool(self._endings)

    def close(self) -> None:
        """Nothing more comes; `write` ends when all is written."""
        self._closed = True
        self._work.set()

    async def write(self, fail: Callable[[BaseException], None]) -> None:
        """Writes until it is closed. If something cannot be written `fail` is told, and nothing more is tried."""
        while self._marks or self._endings or self._waiters or not self._closed:
            await self._work.wait()
            self._work.clear()
            # They leave their lists when they are on the disk, so that `write_rest` finds whatever is not.
            marks, endings, waiters = self._marks.copy(), self._endings.copy(), self._waiters.copy()
            try:
                self._taken_over |= set(await self._store.record(self.run_id, marks, endings))
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
                self._fail(error)
                fail(error)
                return
            del self._marks[: len(marks)]
            del self._endings[: len(endings)]
            del self._waiters[: len(waiters)]
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self.news.set()

    async def write_rest(self) -> None:
        """Writes what is not written yet, when nothing else runs; calls without a mark have not left."""
        if self._endings:
            await self._store.record(self.run_id, (), self._endings, last=True)

    def _fail(self, error: Exception) -> None:
        self._problem = error if isinstance(error, ConfigError) else ConfigError(f"nothing can be recorded: {error}")
        self._problem.for_all = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._problem.again())
        self._waiters.clear()
