"""Working through a backlog with a session.

Each kind of call has a lane of its own that claims pending calls in chunks and hands them to the session: paid ones as
queued jobs, enough that the session always has the next files to make ready, ID look-ups side by side, enough to fill
its batches. How calls end is collected and written by one writer; whatever has ended during one write is the next.

A run ends early in two ways. On an error that every further call would meet it stops: queued jobs are taken back, calls
under way end and are recorded. When it is cancelled, calls under way are broken off, and as they may have been billed,
that is counted. Either way, what was claimed and has no ending goes back to pending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ekb_async.backlog.answers import Answer
from ekb_async.backlog.identity import is_url, parse_attachment
from ekb_async.backlog.lock import RunLock
from ekb_async.backlog.manifest import KINDS, PAID, signed_url
from ekb_async.backlog.store import Call, Ending, Store
from ekb_async.backlog.worker import Worker
from ekb_async.config import Priority
from ekb_async.errors import (
    ApiError,
    AuthError,
    ConfigError,
    EkbError,
    OutcomeUnknownError,
    PermissionDeniedError,
    QueueFullError,
    SessionClosedError,
)
from ekb_async.models.files import InvoiceFile, LocalFile
from ekb_async.redaction import redact
from ekb_async.retries import answer_lost

if TYPE_CHECKING:
    from ekb_async.jobs import Job
    from ekb_async.session import EkbSession

_PAID_AHEAD = 200
_LOOKUPS_AHEAD = 600
_FULL_PAUSE = 0.1  # seconds until a full queue of the session is tried again
_REPORT_PAUSE = 0.25  # seconds between two reports at least, and 20 times what counting takes


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. `counts` are the rows of the whole backlog by state, `total` their sum, `done` those that have
    ended, well or not; `rate` is rows ended per second since `started_at`.
    """

    counts: dict[str, int]
    total: int
    done: int
    rate: float
    started_at: datetime


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves: the backlog's rows by state, its failed rows by class of error, and the seconds it took."""

    counts: dict[str, int]
    failures: dict[str, int]
    seconds: float


class Run:
    """One run over a backlog; `work()` is called once."""

    def __init__(self, worker: Worker, store: Store, lock: RunLock, session: EkbSession) -> None:
        self._worker = worker
        self._store = store
        self._lock = lock
        self._session = session
        self._jobs: set[Job[Any]] = set()
        self._doors = {kind: asyncio.Lock() for kind in PAID}
        self._endings: list[Ending] = []
        self._ended = asyncio.Event()
        self._recorded = asyncio.Event()
        self._reason: EkbError | None = None
        self._over = False
        self._ended_before = 0
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._started_at = datetime.now(UTC)

    async def work(self, progress: Callable[[Progress], None] | None = None) -> Summary:
        """Works until nothing is pending. Raises the error that made every further call hopeless."""
        try:
            await self._worker.call(self._begin)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                reporter = group.create_task(self._report(progress)) if progress else None
                async with asyncio.TaskGroup() as lanes:
                    for kind in KINDS:
                        lanes.create_task(self._lane(kind))
                self._over = True
                self._ended.set()
                if reporter:
                    reporter.cancel()
        except BaseExceptionGroup as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            await self._worker.call(self._finish)
        counts = await self._worker.call(self._store.counts)
        failures = await self._worker.call(self._store.failures)
        if progress:
            progress(self._measure(counts))
        if self._reason is not None:
            raise self._reason
        return Summary(counts=counts, failures=failures, seconds=self._loop.time() - self._start)

    def _begin(self) -> None:
        self._lock.acquire()
        self._store.recover()
        counts = self._store.counts()
        self._ended_before = counts["done"] + counts["failed"]

    def _finish(self) -> None:
        if self._lock.held:
            try:
                self._store.record(self._endings)
                self._store.give_back()
            finally:
                self._lock.release()

    def _stop(self, reason: EkbError) -> None:
        """Ends the run for a reason that holds for every further call."""
        self._reason = self._reason or reason
        for job in [job for job in self._jobs if job.state == "queued"]:
            job.cancel()

    async def _lane(self, kind: str) -> None:
        limit = _PAID_AHEAD if kind in PAID else _LOOKUPS_AHEAD
        start = self._pay if kind in PAID else self._look_up
        handed = 0
        room = asyncio.Event()

        def leave(_: asyncio.Task[None]) -> None:
            nonlocal handed
            handed -= 1
            room.set()

        async with asyncio.TaskGroup() as calls:
            while self._reason is None:
                free = limit - handed
                claimed = await self._worker.call(self._store.claim, kind, free)
                for call in claimed:
                    calls.create_task(start(call)).add_done_callback(leave)
                handed += len(claimed)
                if not handed:
                    return
                # More is claimed when a good part is free again; a last look comes when all have ended.
                enough = limit * 3 // 4 if len(claimed) == free else 0
                while handed > enough and self._reason is None:
                    room.clear()
                    await room.wait()

    async def _pay(self, call: Call) -> None:
        try:
            job = await self._submit(call, await self._file(call))
        except EkbError as error:
            self._fail(call, error)
            return
        if job is None:
            return
        self._jobs.add(job)
        try:
            await self._settle(call, job)
        except asyncio.CancelledError:
            if job.state == "running":
                job.cancel()
                self._end(Ending(call.id, "pending", maybe_billed=1))
            elif job.state in {"done", "failed"}:
                # The answer came at the same moment.
                await self._settle(call, job)
            raise
        finally:
            self._jobs.discard(job)

    async def _file(self, call: Call) -> InvoiceFile:
        """What the session is given for a call; a signed URL is read from its manifest."""
        manifest = Path(call.manifest)
        if call.start is not None and call.length is not None:
            columns = msgspec.json.decode(call.columns, type=tuple[str, ...])
            return await self._worker.call(signed_url, manifest, columns, call.start, call.length, call.file)
        if is_url(call.file):
            return call.file
        return parse_attachment(call.file) or LocalFile(manifest.parent / call.file)

    async def _submit(self, call: Call, file: InvoiceFile) -> Job[Any] | None:
        """The queued job, None if the run has been stopped."""
        # One call of a kind at a time asks whether a full queue has room, and the others stay in order behind it.
        async with self._doors[call.kind]:
            while self._reason is None:
                try:
                    if call.kind == "ocr":
                        return self._session.submit_ocr(file, priority=Priority.BULK)
                    return self._session.submit_verify(
                        file, staff_id=call.staff_id, file_name=call.file_name or None, priority=Priority.BULK
                    )
                except QueueFullError:
                    await asyncio.sleep(_FULL_PAUSE)
        return None

    async def _look_up(self, call: Call) -> None:
        if call.kind == "url":
            await self._settle(call, self._session.invoice_url(call.invoice_id))
        elif call.kind == "detail":
            await self._settle(call, self._session.invoice_details(call.invoice_id))
        else:
            self._fail(call, ConfigError("this version cannot download invoice files; kind url gives their URLs"))

    async def _settle(self, call: Call, answer: Awaitable[Answer]) -> None:
        try:
            found = await answer
        except EkbError as error:
            self._fail(call, error)
        else:
            self._end(Ending(call.id, "done", answer=found))

    def _fail(self, call: Call, error: EkbError) -> None:
        unknown = isinstance(error, OutcomeUnknownError) or answer_lost(error)
        # A closed session breaks off calls under way; those that were queued have no attempts.
        unknown |= isinstance(error, SessionClosedError) and error.attempts > 0
        ending = Ending(call.id, "pending", maybe_billed=int(unknown and call.kind in PAID))
        if isinstance(error, AuthError | PermissionDeniedError | SessionClosedError):
            self._stop(error)
            self._end(ending._replace(tries=0))
        else:
            name = type(error).__name__
            text = f"{name}: {redact(str(error))}"
            hint = redact(error.hint) if isinstance(error, ApiError) else ""
            self._end(ending._replace(state="failed", error_type=name, error=text, hint=hint))

    def _end(self, ending: Ending) -> None:
        self._endings.append(ending)
        self._ended.set()

    async def _write(self) -> None:
        while self._endings or not self._over:
            await self._ended.wait()
            self._ended.clear()
            # They leave the list when they are on the disk, so that `_finish` finds whatever is not.
            endings = self._endings.copy()
            await self._worker.call(self._store.record, endings)
            del self._endings[: len(endings)]
            self._recorded.set()

    async def _report(self, progress: Callable[[Progress], None]) -> None:
        while True:
            before = self._loop.time()
            self._recorded.clear()
            progress(self._measure(await self._worker.call(self._store.counts)))
            await asyncio.sleep(max(_REPORT_PAUSE, 20 * (self._loop.time() - before)))
            await self._recorded.wait()

    def _measure(self, counts: dict[str, int]) -> Progress:
        done = counts["done"] + counts["failed"]
        seconds = self._loop.time() - self._start
        rate = max(0, done - self._ended_before) / seconds if seconds > 0 else 0.0
        return Progress(counts=counts, total=sum(counts.values()), done=done, rate=rate, started_at=self._started_at)


def _first(failure: BaseException) -> BaseException:
    """The error that a group of errors began with."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
