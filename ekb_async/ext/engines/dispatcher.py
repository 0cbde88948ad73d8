"""What a worker does with a wakeup: make the next call, or say when to come back.

A wakeup never fails. Its call ends in the ledger, with a result or an error. What stops a wakeup without being its
call's fault (no slot within 2 s, a database or a vendor out of reach, keys that are refused) leaves the call pending
and postpones the wakeup. What stopped one call would stop others of its tenant and kind, so they pause together, longer
each time, and one of them tries again.

An engine may cancel a wakeup while its call is in progress, for example if its database is unreachable. A call that was
sent has been paid for: it goes on, its answer is recorded when the database is back, and the same wakeup, handed out
again, waits for it. A call that was not sent becomes pending again.

Billed calls are made once. If the answer is lost, the call fails with `OutcomeUnknownError` and is left for a person to
decide, unless the worker was configured to repeat it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, NamedTuple

from ekb_async.aio.tasks import TaskScope
from ekb_async.backlog.input.manifest import PAID
from ekb_async.backlog.run.call_files import CallFiles
from ekb_async.backlog.run.outage import Fault, fault_of
from ekb_async.backlog.run.staff import StaffIds
from ekb_async.backlog.store.call_store import OUTCOME_UNKNOWN, CallResult, failure
from ekb_async.config import Priority
from ekb_async.errors import (
    ApiError,
    EkbError,
    OutcomeUnknownError,
    QueueFullError,
    QueueTimeoutError,
)
from ekb_async.ext.engines.ledger import ClaimedCall, Ledger
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.plan import Planner
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import Deferred, Wakeup
from ekb_async.models.files import InvoiceFile
from ekb_async.protocol.retry import answer_lost
from ekb_async.queue.jobs import Job
from ekb_async.redaction.masking import redact
from ekb_async.session.session import EkbSession
from ekb_async.session.tenants import TenantSessions

_log = logging.getLogger("ekb_async.engines")


class ClaimLostError(EkbError):
    """Another worker has claimed the call meanwhile. Not raised to users."""


class _Pause(NamedTuple):
    seconds: float
    until: float
    reason: str


class _Execution:
    """A wakeup in progress. It can be given up as long as its call has not been sent."""

    def __init__(self) -> None:
        self.job: Job[Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_given_up = False
        """Whether the engine may have given up the wakeup, so that a call that becomes pending needs another one."""
        self._may_be_cancelled = False

    def abandon(self) -> None:
        """Stop as soon as that is safe; a call that was sent goes on."""
        self.is_given_up = True
        if self.job is not None:
            if self.job.state == "queued" and not self.job.unconfirmed:
                self.job.cancel()
        elif self.task is not None and self._may_be_cancelled:
            self.task.cancel()

    @contextlib.contextmanager
    def cancellable(self) -> Iterator[None]:
        """Mark a stretch in which the task may be cancelled; elsewhere, statements of the ledger must complete."""
        self._may_be_cancelled = True
        try:
            yield
        finally:
            self._may_be_cancelled = False


class Dispatcher:
    """Handles the wakeups of a worker."""

    def __init__(
        self,
        ledger: Ledger,
        planner: Planner,
        sessions: TenantSessions,
        files: CallFiles,
        timing: WorkerTiming,
        *,
        repeat_unknown: bool,
    ) -> None:
        self._ledger = ledger
        self._planner = planner
        self._sessions = sessions
        self._files = files
        self._timing = timing
        self._repeat_unknown = repeat_unknown
        self._pauses: dict[tuple[str, str], _Pause] = {}
        self._in_progress: dict[str, _Execution] = {}
        self._staff = StaffIds()
        # How often the vendor's servers failed to take the file of a call, so that the call itself was not sent.
        self._files_refused: Counter[int] = Counter()
        self._scope = TaskScope()
        self._now = asyncio.get_running_loop().time
        self._closed = False

    def __repr__(self) -> str:
        return f"<Dispatcher: {len(self._in_progress)} wakeups in progress, {len(self._pauses)} pauses>"

    async def handle(self, wakeup: Wakeup) -> None:
        """Make the next call of the wakeup's tenant and kind. Raises `Deferred` if the wakeup is postponed.

        If this is cancelled, a call that was sent goes on.
        """
        if self._closed:
            raise Deferred(self._timing.look_again, "the worker is closing")
        execution = self._in_progress.get(wakeup.id)
        if execution is None or execution.task is None:
            execution = self._in_progress[wakeup.id] = _Execution()
            execution.task = self._scope.start(self._run(wakeup, execution), name=f"ekb wakeup {wakeup.id}")
            execution.task.add_done_callback(functools.partial(self._on_done, wakeup))
        try:
            await asyncio.shield(execution.task)
        except asyncio.CancelledError:
            if execution.task.cancelled() and not _is_cancelled():
                raise Deferred(self._timing.look_again, "the call of this wakeup was given back") from None
            execution.abandon()
            raise

    async def close(self) -> None:
        """Wait up to `close_timeout` for calls that were sent; all others become pending again."""
        self._closed = True
        for execution in list(self._in_progress.values()):
            execution.abandon()
        await self._scope.finish(self._timing.close_timeout)

    def _on_done(self, wakeup: Wakeup, task: asyncio.Task[None]) -> None:
        del self._in_progress[wakeup.id]
        if not task.cancelled():
            # The handler may have been cancelled, and then nothing else retrieves the exception.
            task.exception()

    async def _run(self, wakeup: Wakeup, execution: _Execution) -> None:
        pause = self._pauses.get((wakeup.tenant, wakeup.kind))
        if pause is not None and (rest := pause.until - self._now()) > 0:
            deferred = await self._deferred(wakeup, rest, pause.reason)
            if not execution.is_given_up:
                raise deferred
        try:
            claim = await self._ledger.claim(wakeup)
        except EkbError as error:
            raise Deferred(self._timing.look_again, str(error)) from None
        if claim.is_sent_elsewhere:
            raise Deferred(self._timing.look_again, "another worker has sent the call of this wakeup")
        if claim.is_early:
            raise Deferred(self._timing.soon, "no call is planned yet")
        if execution.is_given_up:
            await self._give_back(claim.calls, planned=False)
        elif claim.calls:
            await self._make_calls(wakeup, claim.calls, execution)

    async def _make_calls(self, wakeup: Wakeup, calls: list[ClaimedCall], execution: _Execution) -> None:
        async with self._session(wakeup, calls, execution) as ekb:
            if wakeup.kind in PAID:
                # There is more than one only if several workers that had the wakeup at once have died.
                await self._give_back(calls[1:], planned=False)
                await self._make_paid_call(ekb, wakeup, calls[0], execution)
            else:
                await self._look_up(ekb, wakeup, calls, execution)

    @contextlib.asynccontextmanager
    async def _session(
        self, wakeup: Wakeup, calls: list[ClaimedCall], execution: _Execution
    ) -> AsyncIterator[EkbSession]:
        async with contextlib.AsyncExitStack() as stack:
            try:
                with execution.cancellable():
                    ekb = await stack.enter_async_context(self._sessions.session(wakeup.tenant))
            except BaseException as error:
                await self._give_back(calls, planned=isinstance(error, EkbError) and not execution.is_given_up)
                if isinstance(error, EkbError):
                    raise await self._pause(wakeup, error) from None
                raise
            yield ekb

    # Paid calls

    async def _make_paid_call(
        self, ekb: EkbSession, wakeup: Wakeup, claimed: ClaimedCall, execution: _Execution
    ) -> None:
        call = claimed.call
        if call.kind == "verify" and (refusal := self._staff.refusal(wakeup.tenant, call.staff_id)) is not None:
            # Pending, it would use up wakeups until its row is corrected. A failed call is made again by `retry`.
            await self._record(failure(call, refusal), planned=False)
            return
        job = await self._queue(ekb, wakeup, claimed, execution)
        if job is None:
            return
        deferred = None
        try:
            with contextlib.suppress(EkbError):
                await job
        finally:
            job.cancel()
            deferred = await self._settle(wakeup, claimed, job, execution)
        if deferred is not None:
            raise deferred

    async def _queue(
        self, ekb: EkbSession, wakeup: Wakeup, claimed: ClaimedCall, execution: _Execution
    ) -> Job[Any] | None:
        """Return the queued job of a call; None if the call has failed already. Raises `Deferred` if it must wait."""
        try:
            with execution.cancellable():
                file = await self._files.find(claimed.call)
            execution.job = job = self._submit(ekb, claimed, file)
        except (QueueTimeoutError, QueueFullError) as error:
            await self._give_back([claimed], planned=not execution.is_given_up)
            raise await self._deferred(wakeup, 0.0, str(error)) from None
        except EkbError as error:
            result = self._result_of(claimed, error, 0)
            is_pending = result.state == "pending"
            await self._record(result, planned=is_pending and not execution.is_given_up)
            if is_pending:
                raise await self._pause(wakeup, error) from None
            return None
        except asyncio.CancelledError:
            await self._give_back([claimed], planned=False)
            raise
        return job

    def _submit(self, ekb: EkbSession, claimed: ClaimedCall, file: InvoiceFile) -> Job[Any]:
        call, priority = claimed.call, Priority(claimed.priority)
        # A wakeup that waits for its file occupies one of the worker's places, but no slot.
        wait = self._timing.gate_wait + (0.0 if isinstance(file, str) else self._timing.file_wait)
        mark = functools.partial(self._mark, call.id)
        if call.kind == "ocr":
            return ekb.submit_ocr(file, priority=priority, max_wait=wait, mark=mark)
        return ekb.submit_verify(
            file, staff_id=call.staff_id, file_name=call.file_name or None, priority=priority, max_wait=wait, mark=mark
        )

    async def _mark(self, call_id: int, unconfirmed: int) -> None:
        if unconfirmed > 1 and not self._repeat_unknown:
            raise OutcomeUnknownError(OUTCOME_UNKNOWN["error"])
        try:
            marked = await self._ledger.mark(call_id, unconfirmed)
        except EkbError as error:
            raise error.met_before_sending() from None
        if not marked:
            raise ClaimLostError("another worker has the call by now")

    async def _settle(
        self, wakeup: Wakeup, claimed: ClaimedCall, job: Job[Any], execution: _Execution
    ) -> Deferred | None:
        """Record the state of a job; return the `Deferred` to raise if the wakeup is postponed."""
        call, error = claimed.call, job.error
        if isinstance(error, ClaimLostError):
            # The other worker needs the wakeup, and the engine might take it for done.
            return Deferred(self._timing.look_again, str(error))
        if call.kind == "verify" and (job.state == "done" or isinstance(error, EkbError)):
            self._staff.note(wakeup.tenant, call.staff_id, error if isinstance(error, EkbError) else None)
        deferred = None
        if job.state == "done":
            self._end_pause(wakeup)
            result = CallResult(call.id, "done", answer=job.result)
        elif not isinstance(error, EkbError):
            result = CallResult(call.id, "pending")
        elif isinstance(error, QueueTimeoutError):
            result, deferred = CallResult(call.id, "pending"), await self._deferred(wakeup, 0.0, str(error))
        else:
            result = self._result_of(claimed, error, job.attempts)
            if result.state == "pending":
                deferred = await self._pause(wakeup, error)
        unconfirmed = job.unconfirmed or isinstance(error, OutcomeUnknownError)
        if result.state == "pending" and unconfirmed and not self._repeat_unknown:
            result, deferred = CallResult(call.id, "failed", **OUTCOME_UNKNOWN), None
        result = result._replace(tries=job.attempts, maybe_billed=job.maybe_billed + unconfirmed)
        is_recorded = await self._record(result, planned=deferred is not None and not execution.is_given_up)
        return deferred if is_recorded else Deferred(self._timing.look_again, "the ledger cannot be written")

    # Look-ups

    async def _look_up(self, ekb: EkbSession, wakeup: Wakeup, calls: list[ClaimedCall], execution: _Execution) -> None:
        kind: Literal["url", "detail"] = "url" if wakeup.kind == "url" else "detail"
        ids = [claimed.call.invoice_id for claimed in calls]
        try:
            with execution.cancellable():
                answers: dict[str, Any] = {**await ekb.look_up(kind, ids)}
        except EkbError as error:
            answers = dict.fromkeys(ids, error)
        except asyncio.CancelledError:
            await self._give_back(calls, planned=False)
            raise
        results = []
        trouble = None
        for claimed in calls:
            answer = answers[claimed.call.invoice_id]
            if isinstance(answer, EkbError):
                tries = answer.attempts or int(isinstance(answer, ApiError) and not answer.preliminary)
                result = self._result_of(claimed, answer, tries)
                trouble = answer if result.state == "pending" else trouble
            else:
                tries, result = 1, CallResult(claimed.call.id, "done", answer=answer)
            results.append(result._replace(tries=tries))
        recorded = await asyncio.gather(*(self._record(each, planned=not execution.is_given_up) for each in results))
        if trouble is not None:
            raise await self._pause(wakeup, trouble)
        self._end_pause(wakeup)
        if not all(recorded):
            raise Deferred(self._timing.look_again, "the ledger cannot be written")

    # Errors and pauses

    def _result_of(self, claimed: ClaimedCall, error: EkbError, tries: int) -> CallResult:
        """Return the result of a call that met an error; pending if the call is not at fault."""
        call, fault = claimed.call, fault_of(error)
        pending = CallResult(call.id, "pending")
        if fault in {Fault.EVERY_CALL, Fault.UNSENT}:
            return pending
        if fault is Fault.SERVER:
            if error.preliminary:
                self._files_refused[call.id] += 1
            is_safe = call.kind not in PAID or not (answer_lost(error) or isinstance(error, OutcomeUnknownError))
            if is_safe and claimed.attempts + tries + self._files_refused[call.id] < LIMITS.max_tries_per_call:
                return pending
        self._files_refused.pop(call.id, None)
        return failure(call, error)

    async def _pause(self, wakeup: Wakeup, error: EkbError) -> Deferred:
        """Pause the wakeups of the tenant and kind; several calls that were in progress together cause one pause."""
        key, now = (wakeup.tenant, wakeup.kind), self._now()
        pause = self._pauses.get(key)
        if pause is None or pause.until <= now:
            seconds = self._timing.first_pause if pause is None else min(2 * pause.seconds, self._timing.longest_pause)
            pause = self._pauses[key] = _Pause(seconds, now + seconds, redact(str(error)))
            _log.warning("%s calls of tenant %r pause for %g s: %s", *reversed(key), pause.seconds, pause.reason)
        return await self._deferred(wakeup, pause.until - now, pause.reason)

    def _end_pause(self, wakeup: Wakeup) -> None:
        """Resume the tenant and kind, as the vendor has answered."""
        if self._pauses.pop((wakeup.tenant, wakeup.kind), None) is not None:
            _log.info("%s calls of tenant %r go on", wakeup.kind, wakeup.tenant)

    async def _deferred(self, wakeup: Wakeup, delay: float, reason: str) -> Deferred:
        """Reserve a new plan slot and return the `Deferred` that postpones the wakeup until then."""
        try:
            delay = await self._planner.reserve(wakeup, delay, patience=self._timing.reserve_patience)
        except EkbError:
            delay = max(delay, self._timing.look_again)
        return Deferred(delay, reason)

    async def _give_back(self, calls: list[ClaimedCall], *, planned: bool) -> None:
        """Make claimed calls pending again."""
        await asyncio.gather(
            *(self._record(CallResult(claimed.call.id, "pending"), planned=planned) for claimed in calls)
        )

    async def _record(self, result: CallResult, *, planned: bool) -> bool:
        """Record a result in the ledger; return whether that succeeded."""
        try:
            await self._ledger.record(result, planned=planned)
        except EkbError as error:
            _log.error("the result of call %d (%s) cannot be recorded: %s", result.call_id, result.state, error)
            return False
        return True


def _is_cancelled() -> bool:
    """Return whether the current task is being cancelled itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
