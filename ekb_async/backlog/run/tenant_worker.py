"""The calls of one tenant, made with its session.

Each kind of call has its own task, which claims pending calls in chunks and hands them to the session: paid calls as
queued jobs, enough that the session can always prepare the next files; ID look-ups in full batches, several at a time.

A failure that an outage may have caused (see `outage`) is not final: the call is postponed, and fails only if that
happens again while other calls succeed.

A worker ends early when it is stopped, or on an error that every further call would meet. Then no more calls are
claimed, queued jobs are withdrawn, and calls in flight have `SessionConfig.close_timeout` to end and are recorded.
After that they are broken off; a billed call that was already sent is counted as maybe billed. Calls without a result
are pending again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ekb_async.backlog.input.manifest import KINDS, LOOKUPS, PAID
from ekb_async.backlog.run.call_files import CallFiles
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.outage import Fault, Outage, fault_of
from ekb_async.backlog.run.recorder import Recorder, TakenOverError
from ekb_async.backlog.run.staff import StaffIds
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.answers import Answer
from ekb_async.backlog.store.call_store import OUTCOME_UNKNOWN, Call, CallResult, CallStore, failure
from ekb_async.config import Priority
from ekb_async.errors import (
    ApiError,
    ConfigError,
    EkbError,
    OutcomeUnknownError,
    QueueFullError,
)
from ekb_async.models.files import InvoiceFile
from ekb_async.protocol.retry import answer_lost

if TYPE_CHECKING:
    from ekb_async.queue.jobs import Job
    from ekb_async.session.session import EkbSession

_POSTPONED = "later"


class TenantWorker:
    """Makes the pending calls of one tenant; `work()` is called once."""

    def __init__(
        self,
        store: CallStore,
        recorder: Recorder,
        session: EkbSession,
        timing: BacklogTiming,
        staff: StaffIds,
        tenant: str = "",
        files: Path | None = None,
    ) -> None:
        self.reason: BaseException | None = None
        """The error that ended the worker early."""
        self._store = store
        self._recorder = recorder
        self._session = session
        self._timing = timing
        self._staff = staff
        self._tenant = tenant
        self._downloads = None if files is None else session.downloads(files)
        self._hold_unknown = not session.config.repeat_unknown
        self._call_files = CallFiles(store)
        self._outages = {kind: Outage(timing) for kind in KINDS}
        self._reached = False
        self._postponed: dict[str, list[CallResult]] = {kind: [] for kind in KINDS}
        # By ID of a call: how often it was postponed, and the answers that its outage had counted the last time.
        self._postponements: dict[int, tuple[int, int]] = {}
        batch = session.config.batch_size
        lookups = (self._look_up, LIMITS.lookup_rounds_claimed_ahead * batch * session.config.batch_in_flight, batch)
        # At least as many as can be in flight, so that the session is never idle until the next claim.
        billed = (self._make_billed, max(store.claims_ahead, session.config.max_running), 1)
        # By kind: the method that makes calls, how many are claimed at most, and how many the method takes at once.
        self._methods: dict[str, tuple[Callable[..., Coroutine[Any, Any, None]], int, int]] = {
            **dict.fromkeys(PAID, billed),
            **dict.fromkeys(LOOKUPS, lookups),
            "download": (self._download, LIMITS.downloads_claimed_ahead, 1),
        }
        self._jobs: dict[Job[Any], Call] = {}
        self._submit_locks = {kind: asyncio.Lock() for kind in PAID}
        self._tasks: list[asyncio.Task[None]] = []
        self._break_off_timer: asyncio.TimerHandle | None = None

    @property
    def trouble(self) -> str:
        """The error of an outage, "" while calls are made."""
        return next((outage.text for outage in self._outages.values() if outage.text), "")

    async def work(self, kinds: Sequence[str]) -> None:
        """Make all pending calls of these kinds, also those added meanwhile; return early if `reason` is set."""
        try:
            if self._downloads is not None:
                await self._downloads.prepare()
            while self.reason is None and await self._store.has_pending(self._tenant, kinds):
                async with asyncio.TaskGroup() as group:
                    self._tasks = [group.create_task(self._work_kind(kind)) for kind in kinds]
                # A call whose result is not recorded yet would count as claimed by another run.
                with contextlib.suppress(ConfigError):
                    await self._recorder.flush()
        finally:
            if self._break_off_timer is not None:
                self._break_off_timer.cancel()

    def stop(self, reason: BaseException) -> None:
        """End the worker for a reason that holds for every further call."""
        if self.reason is not None:
            return
        self.reason = reason
        for kind, outage in self._outages.items():
            outage.stop()
            self._withdraw(kind)
        loop = asyncio.get_running_loop()
        self._break_off_timer = loop.call_later(self._session.config.close_timeout, self._break_off)

    def _withdraw(self, kind: str, staff_id: str | None = None) -> None:
        """Cancel the queued jobs of a kind, those of one staff ID or all."""
        calls = [(job, call) for job, call in self._jobs.items() if call.kind == kind and job.state == "queued"]
        for job, call in calls:
            if staff_id is None or call.staff_id == staff_id:
                job.cancel()

    def _break_off(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _work_kind(self, kind: str) -> None:
        """Claim calls of a kind and make them until none is left or the worker is stopped."""
        make, limit, per_task = self._methods[kind]
        outage = self._outages[kind]
        unfinished = 0
        some_finished = asyncio.Event()

        def finish(count: int, _: asyncio.Task[None]) -> None:
            nonlocal unfinished
            unfinished -= count
            some_finished.set()

        try:
            async with asyncio.TaskGroup() as calls:
                while self.reason is None:
                    await outage.wait()
                    free = (1 if outage.is_on else limit) - unfinished
                    # The first rows may be ones that no server can process, so an outage is probed with the latest.
                    claimed = await self._claim(kind, free, latest=outage.is_on)
                    for part in (claimed[i : i + per_task] for i in range(0, len(claimed), per_task)):
                        task = calls.create_task(self._stop_on_bug(make(*part)))
                        task.add_done_callback(functools.partial(finish, len(part)))
                    unfinished += len(claimed)
                    if not unfinished and not await self._requeue_postponed(kind):
                        return
                    # The next claim comes when a quarter is free again, the last one when all calls have ended.
                    low_mark = int(LIMITS.refill_share * limit) if len(claimed) == free and not outage.is_on else 0
                    while unfinished > low_mark and self.reason is None:
                        some_finished.clear()
                        await some_finished.wait()
        finally:
            self._return_postponed(kind)

    async def _stop_on_bug(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - other calls in flight are billed, so they must be recorded first
            self.stop(error)

    async def _claim(self, kind: str, limit: int, *, latest: bool) -> list[Call]:
        if limit <= 0:
            return []
        try:
            return await self._store.claim(self._recorder.run_id, self._tenant, kind, limit, latest=latest)
        except EkbError as error:
            self.stop(error)
            return []

    async def _requeue_postponed(self, kind: str) -> bool:
        """Make postponed calls pending again; return whether there were any."""
        if not self._return_postponed(kind):
            return False
        with contextlib.suppress(ConfigError):
            await self._recorder.flush()
        return True

    def _return_postponed(self, kind: str) -> bool:
        """Hand postponed calls to the recorder as pending; return whether there were any."""
        postponed = self._postponed[kind]
        for result in postponed:
            self._recorder.end(result)
        self._postponed[kind] = []
        return bool(postponed)

    # Calls

    async def _make_billed(self, call: Call) -> None:
        if call.kind != "verify":
            await self._make(call)
            return
        async with self._staff.admission(self._tenant, call.staff_id, call.row_count) as admitted:
            # Otherwise the call stays claimed until the run ends, so that it is not claimed again and again.
            if admitted:
                await self._make(call)

    async def _make(self, call: Call) -> None:
        try:
            job = await self._submit(call, await self._call_files.find(call))
        except EkbError as error:
            self._record(call, self._result_of(call, error))
            return
        if job is None:
            return
        self._jobs[job] = call
        try:
            with contextlib.suppress(EkbError):
                await job
        finally:
            del self._jobs[job]
            self._settle(call, job)

    async def _submit(self, call: Call, file: InvoiceFile) -> Job[Any] | None:
        """Return the queued job, None if the worker was stopped."""
        # One call per kind retries a full queue; the others wait behind it, in order.
        mark = functools.partial(self._recorder.mark, call.id)
        async with self._submit_locks[call.kind]:
            while self.reason is None:
                try:
                    if call.kind == "ocr":
                        return self._session.submit_ocr(file, priority=Priority.BULK, mark=mark)
                    return self._session.submit_verify(
                        file,
                        staff_id=call.staff_id,
                        file_name=call.file_name or None,
                        priority=Priority.BULK,
                        mark=mark,
                    )
                except QueueFullError:
                    await asyncio.sleep(self._timing.queue_full)
        return None

    def _settle(self, call: Call, job: Job[Any]) -> None:
        """Record the result of a job; a job that has not ended is cancelled."""
        job.cancel()
        if isinstance(job.error, TakenOverError):
            return
        if job.state == "done":
            self._note_staff(call, None)
            self._note(call.kind, None)
            result = CallResult(call.id, "done", answer=job.result)
        elif isinstance(job.error, EkbError):
            self._note_staff(call, job.error)
            result = self._result_of(call, job.error)
            if not (result.state == "failed" and call.id in self._postponements):
                # A call that fails for good after it was postponed is the row's own fault, not a sign of an outage.
                self._note(call.kind, job.error)
        else:
            result = CallResult(call.id, "pending")
        if result.state == "pending" and job.unconfirmed:
            self._recorder.broken_off += 1
            if self._hold_unknown:
                result = CallResult(call.id, "failed", **OUTCOME_UNKNOWN)
        self._record(call, result._replace(tries=job.attempts, maybe_billed=job.maybe_billed + job.unconfirmed))

    def _note_staff(self, call: Call, error: EkbError | None) -> None:
        if call.kind != "verify":
            return
        self._staff.note(self._tenant, call.staff_id, error)
        if error is not None and self._staff.refusal(self._tenant, call.staff_id) is not None:
            self._withdraw(call.kind, call.staff_id)

    async def _look_up(self, *calls: Call) -> None:
        kind: Literal["url", "detail"] = "url" if calls[0].kind == "url" else "detail"
        try:
            found: dict[str, Any] = {**await self._session.look_up(kind, [call.invoice_id for call in calls])}
        except EkbError as error:
            found = dict.fromkeys((call.invoice_id for call in calls), error)
        # All IDs were asked for in one request, so its failure counts once.
        answers = list(found.values())
        failed = next((answer for answer in answers if isinstance(answer, EkbError)), None)
        self._note(kind, failed if all(isinstance(answer, EkbError) for answer in answers) else None)
        for call in calls:
            self._settle_unbilled(call, found[call.invoice_id])

    async def _download(self, call: Call) -> None:
        assert self._downloads is not None  # noqa: S101 - downloads are only worked on with a directory
        try:
            answer: Path | EkbError = await self._downloads.fetch(call.invoice_id)
        except EkbError as error:
            answer = error
        self._note(call.kind, answer if isinstance(answer, EkbError) else None)
        self._settle_unbilled(call, answer)

    def _settle_unbilled(self, call: Call, answer: Answer | EkbError) -> None:
        if isinstance(answer, EkbError):
            tries = answer.attempts or int(isinstance(answer, ApiError) and not answer.preliminary)
            self._record(call, self._result_of(call, answer)._replace(tries=tries))
        else:
            self._record(call, CallResult(call.id, "done", tries=1, answer=answer))

    # What errors mean

    def _note(self, kind: str, error: EkbError | None) -> None:
        """Count the outcome of a request, `error` is None for success, and handle an outage that it may reveal."""
        outage = self._outages[kind]
        fault = None if error is None else fault_of(error)
        if error is None or fault not in {Fault.UNSENT, Fault.SERVER}:
            if error is None or isinstance(error, ApiError):
                self._reached = True
                outage.end()
            return
        self._reached |= fault is Fault.SERVER or isinstance(error, ApiError) or kind == "download"
        if not self._reached:
            # If the vendor was never reached, the address is probably wrong.
            self.stop(error)
        elif outage.note(error):
            self._recorder.news.set()
            if outage.is_hopeless:
                self.stop(error)
            else:
                self._withdraw(kind)

    def _result_of(self, call: Call, error: EkbError) -> CallResult:
        """Return the result of a failed call, and stop the worker if every further call would fail as well."""
        fault = fault_of(error)
        if fault is Fault.EVERY_CALL:
            self.stop(error)
        if fault in {Fault.EVERY_CALL, Fault.UNSENT}:
            return CallResult(call.id, "pending")
        result = failure(call, error)
        return result._replace(state=_POSTPONED) if self._may_try_again(call, error) else result

    def _may_try_again(self, call: Call, error: EkbError) -> bool:
        """Return whether the vendor rather than the row may be at fault.

        Never true for a billed call without an answer, which could be billed twice.
        """
        if fault_of(error) is not Fault.SERVER or isinstance(error, OutcomeUnknownError):
            return False
        if call.kind in PAID and answer_lost(error):
            return False
        answers = self._outages[call.kind].answers
        times, answers_then = self._postponements.get(call.id, (0, answers))
        self._postponements[call.id] = (times + 1, answers)
        return times == 0 or (times < LIMITS.postponements_per_call and answers == answers_then)

    def _record(self, call: Call, result: CallResult) -> None:
        if result.state == _POSTPONED:
            pending = CallResult(call.id, "pending", tries=result.tries, maybe_billed=result.maybe_billed)
            self._postponed[call.kind].append(pending)
        else:
            self._recorder.end(result)
