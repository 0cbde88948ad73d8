"""Working through a backlog with a session.

Each kind of call has a lane of its own that claims pending calls in chunks and hands them to the session: paid ones as
queued jobs, enough that the session always has the next files to make ready, ID look-ups in full batches side by side.
How calls end is collected and written by one writer; whatever has ended during one write is the next. Several runs may
work on one backlog; one that finds nothing left looks after those that died, and takes their calls over.

When the vendor cannot be reached, that is no fault of the rows: they stay pending, and the run pauses and tries again.

A run ends early on an error that every further call would meet, when nothing can be recorded, when its caller's
`progress` fails, and when it is cancelled. It is the same each time: nothing more is claimed, queued jobs are taken
back, calls under way have `SessionConfig.close_timeout` to end and are recorded. Being cancelled once more breaks them
off at once. What was sent and broken off may have been billed and is counted; what has no ending is pending again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ekb_async.backlog.answers import Answer
from ekb_async.backlog.identity import file_identity
from ekb_async.backlog.lease import Lease
from ekb_async.backlog.manifest import KINDS, LOOKUPS, PAID, signed_url
from ekb_async.backlog.outage import Outage
from ekb_async.backlog.store import OUTCOME_UNKNOWN, Call, Ending, Load, Store, counts_of
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
    ServerError,
    SessionClosedError,
)
from ekb_async.models.files import InvoiceFile, LocalFile, is_url, parse_attachment
from ekb_async.redaction import redact
from ekb_async.retries import answer_lost

if TYPE_CHECKING:
    from ekb_async.jobs import Job
    from ekb_async.session import EkbSession

_PAID_AHEAD = 200
_DOWNLOADS_AHEAD = 200
_FULL_PAUSE = 0.1  # seconds until a full queue of the session is tried again
_OTHERS_PAUSE = 1.0  # seconds until it is looked again whether other runs have ended, or are dead
_REPORT_PAUSE = 0.25  # seconds between two reports at least, and 20 times what counting takes


class KindProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one kind in the whole backlog: those `left` to make, those `ended`, and how many `allowed` per second,
    None where there is no limit.
    """

    left: int
    ended: int
    allowed: float | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is. `counts` are the rows of the whole backlog by state, `total` their sum, `done` those that have
    ended, well or not; `rate` is rows ended per second since `started_at`; `kinds` has the calls that rows share;
    `trouble` says why nothing goes on, "" as long as it does.
    """

    counts: dict[str, int]
    total: int
    done: int
    rate: float
    started_at: datetime
    kinds: dict[str, KindProgress]
    trouble: str = ""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run leaves: the backlog's rows by state, its failed rows by class of error, and the seconds it took."""

    counts: dict[str, int]
    failures: dict[str, int]
    seconds: float


class Run:
    """One run over a backlog; `work()` is called once."""

    def __init__(
        self,
        worker: Worker,
        store: Store,
        session: EkbSession,
        progress: Callable[[Progress], None] | None = None,
        files: Path | None = None,
    ) -> None:
        self._worker = worker
        self._store = store
        self._session = session
        self._progress = progress
        self._downloads = None if files is None else session.downloads(files)
        self._kinds = KINDS if files is not None else (*PAID, *LOOKUPS)
        self._hold_unknown = not session.config.repeat_unknown
        self._run_id = 0
        self._lease: Lease | None = None
        self._outage = Outage()
        self._waiting = ""
        self._stopped = asyncio.Event()
        batch = session.config.batch_size
        lookups = (self._look_up, 2 * batch * session.config.batch_in_flight, batch)
        # How calls of each kind are made, how many are claimed ahead, and how many are made together.
        self._ways: dict[str, tuple[Callable[..., Coroutine[Any, Any, None]], int, int]] = {
            **dict.fromkeys(PAID, (self._pay, _PAID_AHEAD, 1)),
            **dict.fromkeys(LOOKUPS, lookups),
            "download": (self._download, _DOWNLOADS_AHEAD, 1),
        }
        self._jobs: dict[Job[Any], Call] = {}
        self._doors = {kind: asyncio.Lock() for kind in PAID}
        self._sent: list[int] = []
        self._endings: list[Ending] = []
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._reason: BaseException | None = None
        self._lanes: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._over = False
        self._ended_before = 0
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._started_at = datetime.now(UTC)

    async def work(self) -> Summary:
        """Works until nothing is pending. Raises what ended it early."""
        task = asyncio.create_task(self._work())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._stop(asyncio.CancelledError())
            await asyncio.wait([task])
            raise
        finally:
            task.cancel()
            while not task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                task.exception()

    async def _work(self) -> Summary:
        try:
            await self._worker.call(self._begin)
            if self._downloads is not None:
                await self._downloads.prepare()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                reporter = group.create_task(self._report())
                self._lanes = group.create_task(self._work_off())
                await asyncio.wait([self._lanes])
                self._over = True
                self._news.set()
                reporter.cancel()
        except BaseExceptionGroup as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            if self._patience is not None:
                self._patience.cancel()
            await self._worker.call(self._finish)
        load = await self._worker.call(self._store.load)
        failures = await self._worker.call(self._store.failures)
        if self._progress:
            self._progress(self._measure(load))
        if self._reason is not None:
            raise self._reason
        return Summary(counts=counts_of(load), failures=failures, seconds=self._loop.time() - self._start)

    def _begin(self) -> None:
        self._run_id, self._lease = self._store.begin_run()
        self._store.take_over(hold_unknown=self._hold_unknown)
        counts = self._store.counts()
        self._ended_before = counts["done"] + counts["failed"]

    def _finish(self) -> None:
        if self._lease is None:
            return
        try:
            self._store.record(self._run_id, self._sent, self._endings)
            self._store.end_run(self._run_id, hold_unknown=self._hold_unknown)
        finally:
            self._lease.give_up()

    def _stop(self, reason: BaseException) -> None:
        """Ends the run for a reason that holds for every further call."""
        if self._reason is not None:
            return
        self._reason = reason
        self._stopped.set()
        self._take_back()
        self._outage.wait_no_more()
        self._patience = self._loop.call_later(self._session.config.close_timeout, self._break_off)

    def _take_back(self) -> None:
        for job in [job for job in self._jobs if job.state == "queued"]:
            job.cancel()

    def _break_off(self) -> None:
        if self._lanes is not None:
            self._lanes.cancel()

    async def _work_off(self) -> None:
        """Works until nothing is left, what was added meanwhile included."""
        while self._reason is None and (left := await self._worker.call(self._left)):
            if left == "running":
                self._waiting = "another run has the rest"
                self._changed.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), _OTHERS_PAUSE)
                continue
            self._waiting = ""
            async with asyncio.TaskGroup() as lanes:
                for kind in self._kinds:
                    lanes.create_task(self._lane(kind))

    def _left(self) -> str:
        """The state of what is left: `pending`, else `running` in other runs that are alive, else nothing."""
        self._store.take_over(hold_unknown=self._hold_unknown)
        return next((state for state in ("pending", "running") if self._store.has(state, self._kinds)), "")

    async def _lane(self, kind: str) -> None:
        start, limit, together = self._ways[kind]
        handed = 0
        room = asyncio.Event()

        def leave(count: int, _: asyncio.Task[None]) -> None:
            nonlocal handed
            handed -= count
            room.set()

        async with asyncio.TaskGroup() as calls:
            while self._reason is None:
                await self._outage.over()
                free = limit - handed
                claimed = await self._claim(kind, free)
                for part in (claimed[i : i + together] for i in range(0, len(claimed), together)):
                    calls.create_task(start(*part)).add_done_callback(functools.partial(leave, len(part)))
                handed += len(claimed)
                if not handed:
                    return
                # More is claimed when a good part is free again; a last look comes when all have ended.
                enough = limit * 3 // 4 if len(claimed) == free else 0
                while handed > enough and self._reason is None:
                    room.clear()
                    await room.wait()

    async def _claim(self, kind: str, limit: int) -> list[Call]:
        try:
            return await self._worker.call(self._store.claim, self._run_id, kind, limit)
        except ConfigError as error:
            self._stop(error)
            return []

    async def _pay(self, call: Call) -> None:
        try:
            job = await self._submit(call, await self._file(call))
        except EkbError as error:
            self._end(self._failure(call, error))
            return
        if job is None:
            return
        job.on_start = lambda _: self._mark_sent(call)
        self._jobs[job] = call
        try:
            with contextlib.suppress(EkbError):
                await job
        finally:
            del self._jobs[job]
            self._settle(call, job)

    async def _file(self, call: Call) -> InvoiceFile:
        """What the session is given for a call; a signed URL is read from its manifest."""
        if call.start is not None and call.length is not None:
            columns = msgspec.json.decode(call.columns, type=tuple[str, ...])
            return await self._worker.call(signed_url, Path(call.manifest), columns, call.start, call.length, call.file)
        if is_url(call.file):
            return call.file
        if attachment := parse_attachment(call.file):
            return attachment
        return await self._worker.call(self._local_file, call)

    def _local_file(self, call: Call) -> LocalFile:
        """The file of a call, or of another of its rows if that one is not any more what it was."""
        for manifest, file in self._copies(call):
            directory = Path(manifest).parent
            with contextlib.suppress(ConfigError):
                if file_identity(call.kind, file, directory) == call.identity:
                    return LocalFile(directory / file)
        raise ConfigError(f"{call.file}: the file is gone or was changed since it was added: add it again")

    def _copies(self, call: Call) -> Iterable[tuple[str, str]]:
        yield call.manifest, call.file
        if call.row_count > 1:
            yield from self._store.copies(call.id)

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

    def _settle(self, call: Call, job: Job[Any]) -> None:
        """Records how a job stands; one that has not ended is taken back."""
        job.cancel()
        if job.state == "done":
            self._outage.end()
            ending = Ending(call.id, "done", answer=job.result)
        elif isinstance(job.error, EkbError):
            ending = self._failure(call, job.error)
        elif job.attempts and self._hold_unknown:
            ending = Ending(call.id, "failed", maybe_billed=1, **OUTCOME_UNKNOWN)
        else:
            ending = Ending(call.id, "pending", maybe_billed=int(job.attempts > 0))
        self._end(ending._replace(tries=job.attempts, maybe_billed=ending.maybe_billed + job.maybe_billed))

    async def _look_up(self, *calls: Call) -> None:
        kind: Any = calls[0].kind
        found: dict[str, Any]
        try:
            found = await self._session.look_up(kind, [call.invoice_id for call in calls])
        except EkbError as error:
            found = dict.fromkeys((call.invoice_id for call in calls), error)
        for call in calls:
            self._settle_free(call, found[call.invoice_id])

    async def _download(self, call: Call) -> None:
        assert self._downloads is not None  # noqa: S101 - its lane is not opened otherwise
        try:
            answer: Path | EkbError = await self._downloads.fetch(call.invoice_id)
        except EkbError as error:
            answer = error
        self._settle_free(call, answer)

    def _settle_free(self, call: Call, answer: Answer | Path | EkbError) -> None:
        if isinstance(answer, EkbError):
            self._end(self._failure(call, answer))
        else:
            self._outage.end()
            self._end(Ending(call.id, "done", tries=1, answer=answer))

    def _failure(self, call: Call, error: EkbError) -> Ending:
        """The ending of a call that failed; it stops the run if every further call would fail as well."""
        unknown = isinstance(error, OutcomeUnknownError) or answer_lost(error)
        # A closed session breaks off calls under way; those that were queued have no attempts.
        unknown |= isinstance(error, SessionClosedError) and error.attempts > 0
        tries = error.attempts or int(isinstance(error, ApiError) and not error.preliminary)
        ending = Ending(call.id, "pending", tries=tries, maybe_billed=int(unknown and call.kind in PAID))
        if error.for_all or isinstance(error, AuthError | PermissionDeniedError | SessionClosedError):
            self._stop(error)
            return ending
        if self._outage.is_behind(error):
            if self._outage.begin(error):
                self._take_back()
            else:
                self._stop(error)
            return ending
        if isinstance(error, ApiError) and not isinstance(error, ServerError):
            self._outage.end()
        hint = str(getattr(error, "hint", ""))
        text = str(error).removesuffix(hint).rstrip()
        return ending._replace(state="failed", error_type=type(error).__name__, error=redact(text), hint=redact(hint))

    def _mark_sent(self, call: Call) -> None:
        self._sent.append(call.id)
        self._news.set()

    def _end(self, ending: Ending) -> None:
        self._endings.append(ending)
        self._news.set()

    async def _write(self) -> None:
        while self._sent or self._endings or not self._over:
            await self._news.wait()
            self._news.clear()
            # They leave their lists when they are on the disk, so that `_finish` finds whatever is not.
            sent, endings = self._sent.copy(), self._endings.copy()
            try:
                await self._worker.call(self._store.record, self._run_id, sent, endings)
            except ConfigError as error:
                # No further call is paid whose answer could not be kept.
                self._stop(error)
                return
            del self._sent[: len(sent)]
            del self._endings[: len(endings)]
            self._changed.set()

    async def _report(self) -> None:
        while self._progress:
            before = self._loop.time()
            self._changed.clear()
            load = await self._worker.call(self._store.load)
            try:
                self._progress(self._measure(load))
            except Exception as error:  # noqa: BLE001 - whatever it is, calls under way have been paid for
                self._progress = None
                self._stop(error)
                return
            await asyncio.sleep(max(_REPORT_PAUSE, 20 * (self._loop.time() - before)))
            await self._changed.wait()

    def _measure(self, load: list[Load]) -> Progress:
        counts = counts_of(load)
        done = counts["done"] + counts["failed"]
        seconds = self._loop.time() - self._start
        return Progress(
            counts=counts,
            total=sum(counts.values()),
            done=done,
            rate=max(0, done - self._ended_before) / seconds if seconds > 0 else 0.0,
            started_at=self._started_at,
            kinds=self._measure_kinds(load),
            trouble=self._outage.text or self._waiting,
        )

    def _measure_kinds(self, load: list[Load]) -> dict[str, KindProgress]:
        config = self._session.config
        allowed = {"ocr": config.ocr_rate, "verify": config.verify_rate}
        measured = {}
        for kind in dict.fromkeys(each.kind for each in load):
            calls = {each.state: each.calls for each in load if each.kind == kind}
            left = calls.get("pending", 0) + calls.get("running", 0)
            ended = calls.get("done", 0) + calls.get("failed", 0)
            measured[kind] = KindProgress(left=left, ended=ended, allowed=allowed.get(kind))
        return measured


def _first(failure: BaseException) -> BaseException:
    """The error that a group of errors began with."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
