"""Records during a run which calls are about to be sent, and the results of calls.

There is one transaction at a time; whatever arrives meanwhile goes into the next. A billed call is sent only after its
mark is on disk: whatever happens next, the backlog has a record that the call may be billed, and while nothing can be
written, nothing is billed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ekb_async.backlog.run.shown.tally import Tally
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.values.calls import CallResult, Marking, SentMark
from ekb_async.errors import EkbError, StorageError

_Waiting = tuple[SentMark | None, "asyncio.Future[Marking]"]


class Recorder:
    """Writes the marks and results of a run, in the order in which they arrive."""

    def __init__(self, store: CallStore) -> None:
        self.run_id = 0
        self.news = asyncio.Event()
        """Set when something was written, or when the reason why no calls are made may have changed."""
        self.broken_off = 0
        """The number of billed calls that were sent and broken off before they were answered."""
        self.saved = 0
        """The number of calls that the ledger answered."""
        self.tally = Tally()
        """What the results add up to."""
        self._store = store
        self._results: list[CallResult] = []
        # Marks, or None to wait for what was queued before, each with the future that says what became of it.
        self._waiting: list[_Waiting] = []
        self._abandoned: dict[int, int] = {}
        """The days on which attempts of calls were counted that were taken back while their mark was written."""
        self._work = asyncio.Event()
        self._closed = False
        self._problem: EkbError | None = None

    async def mark(self, mark: SentMark) -> Marking:
        """Write the mark of a call; return whether the call may be sent: this run still has it, and no budget is spent.

        Raises `EkbError` if the mark cannot be written.
        """
        return await self._written(mark)

    def end(self, result: CallResult) -> None:
        """Queue the result of a call for writing."""
        self.tally.maybe_billed += result.maybe_billed
        self._results.append(result)
        self._work.set()

    async def flush(self) -> None:
        """Return once everything queued so far is on disk. Raises `EkbError` if it cannot be written."""
        await self._written(None)

    async def _written(self, mark: SentMark | None) -> Marking:
        if self._problem is not None:
            raise self._problem.again()
        written: asyncio.Future[Marking] = asyncio.get_running_loop().create_future()
        self._waiting.append((mark, written))
        self._work.set()
        try:
            return await written
        except asyncio.CancelledError:
            if mark is not None and written.done() and not written.cancelled() and written.exception() is None:
                self._abandon(mark, written.result())
            raise

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
        while self._results or self._waiting or not self._closed:
            await self._work.wait()
            self._work.clear()
            # Entries stay in their lists until they are on disk, so that `write_rest` finds the others.
            results, waiting = self._to_write(), self._waiting.copy()
            marks = [mark for mark, written in waiting if mark is not None and not written.cancelled()]
            kept: list[Mapping[int, Marking]] = []
            try:
                await self._store.record(self.run_id, marks, results, written=kept.append)
            except Exception as error:  # noqa: BLE001 - every error must be passed to the waiting calls
                self._fail(error)
                fail(error)
                return
            finally:
                # Also if this was cancelled meanwhile: what is on disk must not be written and counted again.
                if kept:
                    self._note_written(results, waiting, kept[0])

    def _note_written(
        self, results: list[CallResult], waiting: list[_Waiting], markings: Mapping[int, Marking]
    ) -> None:
        del self._results[: len(results)]
        del self._waiting[: len(waiting)]
        for result in results:
            self._abandoned.pop(result.call_id, None)
        for mark, written in waiting:
            marking = Marking() if mark is None else markings.get(mark.call_id, Marking())
            if not written.done():
                written.set_result(marking)
            elif mark is not None:
                self._abandon(mark, marking)
        self.news.set()

    def _abandon(self, mark: SentMark, marking: Marking) -> None:
        """Note the day on which the attempt of a call was counted that was taken back meanwhile."""
        if marking.counted_on != mark.counted_on:
            self._abandoned[mark.call_id] = marking.counted_on

    def _to_write(self) -> list[CallResult]:
        """Return the results; those of calls that were taken back while they were marked give back what was counted."""
        if not self._abandoned:
            return self._results.copy()
        days = self._abandoned
        return [
            each._replace(unspent=(*each.unspent, days[each.call_id])) if days.get(each.call_id) else each
            for each in self._results
        ]

    async def write_rest(self) -> None:
        """Write the remaining results when nothing else runs. Marks can be dropped: their calls were not sent."""
        if self._results:
            await self._store.record(self.run_id, (), self._to_write(), last=True)

    def _fail(self, error: Exception) -> None:
        self._problem = error if isinstance(error, EkbError) else StorageError(f"nothing can be recorded: {error}")
        self._problem.for_all = True
        for _, written in self._waiting:
            if not written.done():
                written.set_exception(self._problem.again())
        self._waiting.clear()
