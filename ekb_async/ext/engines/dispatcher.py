"""What a worker does with a turn: it makes the call that is next, or says when to come back.

A turn never fails. The call that it got ends in the ledger, well or not; what stops a turn without being its call's
fault (no slot within 2 s, a database or a vendor out of reach, keys that are refused) leaves the call pending and sends
the turn back to the engine. What stopped a call stops others of its tenant and kind, so they pause together, longer
each time, and one of them tries again.

Whoever hands out turns may lose heart while a call is under way (its database is away, say) and cancel. A call that has
left has been paid for: it goes on, its answer is recorded when the database is back, and the same turn handed out again
waits for it. A call that has not left goes back.

Billed calls are made once. If the answer is lost the call fails with `OutcomeUnknownError`, for a person to decide,
unless the worker was told to repeat.
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
from ekb_async.ext.engines.ledger import Claimed, Ledger
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

_MOST_TRIES = 9  # how often a call is sent that the vendor's servers cannot carry out


class ClaimLostError(EkbError):
    """Another worker has the call by now. Nobody outside sees this."""


class _Pause(NamedTuple):
    seconds: float
    until: float
    reason: str


class _Work:
    """A turn under way. It can be left as long as its call has not been sent."""

    def __init__(self) -> None:
        self.job: Job[Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_left = False
        """Whether the engine may have given up the turn, so that a call that goes back needs another one."""
        self._may_be_cancelled = False

    def leave(self) -> None:
        self.is_left = True
        if self.job is not None:
            if self.job.state == "queued" and not self.job.unconfirmed:
                self.job.cancel()
        elif self.task is not None and self._may_be_cancelled:
            self.task.cancel()

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """A stretch in which it may be cancelled; what is asked of the ledger elsewhere is to be seen through."""
        self._may_be_cancelled = True
        try:
            yield
        finally:
            self._may_be_cancelled = False


class Dispatcher:
    """Carries out turns for a worker."""

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
        self._under_way: dict[str, _Work] = {}
        self._staff = StaffIds()
        # How often the vendor's servers could not take the file of a call that was never sent.
        self._files_refused: Counter[int] = Counter()
        self._scope = TaskScope()
        self._now = asyncio.get_running_loop().time
        self._closed = False

    def __repr__(self) -> str:
        return f"<Dispatcher: {len(self._under_way)} turns under way, {len(self._pauses)} pauses>"

    async def handle(self, wakeup: Wakeup) -> None:
        """Makes the next call of the turn's tenant and kind. Raises `Deferred` if the turn is to come again.

        Cancelled, it leaves a call alone that has been sent.
        """
        if self._closed:
            raise Deferred(self._timing.look_again, "the worker is closing")
        work = self._under_way.get(wakeup.id)
        if work is None or work.task is None:
            work = self._under_way[wakeup.id] = _Work()
            work.task = self._scope.start(self._make(wakeup, work), name=f"ekb turn {wakeup.id}")
            work.task.add_done_callback(functools.partial(self._made, wakeup))
        try:
            await asyncio.shield(work.task)
        except asyncio.CancelledError:
            if work.task.cancelled() and not _is_cancelled():
                raise Deferred(self._timing.look_again, "the call of this turn was given back") from None
            work.leave()
            raise

    async def close(self) -> None:
        """Calls under way have a minute to end; what has not left is given back."""
        self._closed = True
        for work in list(self._under_way.values()):
            work.leave()
        await self._scope.finish(self._timing.close_timeout)

    def _made(self, wakeup: Wakeup, task: asyncio.Task[None]) -> None:
        del self._under_way[wakeup.id]
        if not task.cancelled():
            # Whoever handed out the turn may be gone.
            task.exception()

    async def _make(self, wakeup: Wakeup, work: _Work) -> None:
        pause = self._pauses.get((wakeup.tenant, wakeup.kind))
        if pause is not None and (rest := pause.until - self._now()) > 0:
            deferred = await self._later(wakeup, rest, pause.reason)
            if not work.is_left:
                raise deferred
        try:
            claim = await self._ledger.claim(wakeup)
        except EkbError as error:
            raise Deferred(self._timing.look_again, str(error)) from None
        if claim.is_elsewhere:
            raise Deferred(self._timing.look_again, "another worker has sent the call of this turn")
        if claim.is_early:
            raise Deferred(self._timing.soon, "no call is planned yet")
        if work.is_left:
            await self._give_back(claim.calls, planned=False)
        elif claim.calls:
            await self._use(wakeup, claim.calls, work)

    async def _use(self, wakeup: Wakeup, calls: list[Claimed], work: _Work) -> None:
        async with self._session(wakeup, calls, work) as ekb:
            if wakeup.kind in PAID:
                # More than one only if workers who had the turn at once have died.
                await self._give_back(calls[1:], planned=False)
                await self._pay(ekb, wakeup, calls[0], work)
            else:
                await self._look_up(ekb, wakeup, calls, work)

    @contextlib.asynccontextmanager
    async def _session(self, wakeup: Wakeup, calls: list[Claimed], work: _Work) -> AsyncIterator[EkbSession]:
        async with contextlib.AsyncExitStack() as stack:
            try:
                with work.preparing():
                    ekb = await stack.enter_async_context(self._sessions.session(wakeup.tenant))
            except BaseException as error:
                await self._give_back(calls, planned=isinstance(error, EkbError) and not work.is_left)
                if isinstance(error, EkbError):
                    raise await self._paused(wakeup, error) from None
                raise
            yield ekb

    # Paid calls

    async def _pay(self, ekb: EkbSession, wakeup: Wakeup, claimed: Claimed, work: _Work) -> None:
        call = claimed.call
        if call.kind == "verify" and (refusal := self._staff.refusal(wakeup.tenant, call.staff_id)) is not None:
            # Where nobody corrects the row it would take turns for ever; what is failed is made again by `retry`.
            await self._record(failure(call, refusal), planned=False)
            return
        try:
            with work.preparing():
                file = await self._files.find(call)
            work.job = job = self._submit(ekb, claimed, file)
        except (QueueTimeoutError, QueueFullError) as error:
            await self._give_back([claimed], planned=not work.is_left)
            raise await self._later(wakeup, 0.0, str(error)) from None
        except EkbError as error:
            ending = self._ending(claimed, error, 0)
            stays = ending.state == "pending"
            await self._record(ending, planned=stays and not work.is_left)
            if stays:
                raise await self._paused(wakeup, error) from None
            return
        except asyncio.CancelledError:
            await self._give_back([claimed], planned=False)
            raise
        job.before_sending = functools.partial(self._mark, call.id)
        deferred = None
        try:
            with contextlib.suppress(EkbError):
                await job
        finally:
            job.cancel()
            deferred = await self._settle(wakeup, claimed, job, work)
        if deferred is not None:
            raise deferred

    def _submit(self, ekb: EkbSession, claimed: Claimed, file: InvoiceFile) -> Job[Any]:
        call, priority = claimed.call, Priority(claimed.priority)
        # A turn that stands still for a file's sake takes a worker's room, but no slot.
        wait = self._timing.gate_wait + (0.0 if isinstance(file, str) else self._timing.file_wait)
        if call.kind == "ocr":
            return ekb.submit_ocr(file, priority=priority, max_wait=wait)
        return ekb.submit_verify(
            file, staff_id=call.staff_id, file_name=call.file_name or None, priority=priority, max_wait=wait
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

    async def _settle(self, wakeup: Wakeup, claimed: Claimed, job: Job[Any], work: _Work) -> Deferred | None:
        """Records how a job stands; the turn's way back to the engine, if it has to go."""
        call, error = claimed.call, job.error
        if isinstance(error, ClaimLostError):
            # Whoever has the call counts on the turn, and an engine may take it for done.
            return Deferred(self._timing.look_again, str(error))
        if call.kind == "verify" and (job.state == "done" or isinstance(error, EkbError)):
            self._staff.note(wakeup.tenant, call.staff_id, error if isinstance(error, EkbError) else None)
        deferred = None
        if job.state == "done":
            self._go_on(wakeup)
            ending = CallResult(call.id, "done", answer=job.result)
        elif not isinstance(error, EkbError):
            ending = CallResult(call.id, "pending")
        elif isinstance(error, QueueTimeoutError):
            ending, deferred = CallResult(call.id, "pending"), await self._later(wakeup, 0.0, str(error))
        else:
            ending = self._ending(claimed, error, job.attempts)
            if ending.state == "pending":
                deferred = await self._paused(wakeup, error)
        unconfirmed = job.unconfirmed or isinstance(error, OutcomeUnknownError)
        if ending.state == "pending" and unconfirmed and not self._repeat_unknown:
            ending, deferred = CallResult(call.id, "failed", **OUTCOME_UNKNOWN), None
        ending = ending._replace(tries=job.attempts, maybe_billed=job.maybe_billed + unconfirmed)
        kept = await self._record(ending, planned=deferred is not None and not work.is_left)
        return deferred if kept else Deferred(self._timing.look_again, "the ledger cannot be written")

    # Look-ups

    async def _look_up(self, ekb: EkbSession, wakeup: Wakeup, calls: list[Claimed], work: _Work) -> None:
        kind: Literal["url", "detail"] = "url" if wakeup.kind == "url" else "detail"
        ids = [claimed.call.invoice_id for claimed in calls]
        try:
            with work.preparing():
                found: dict[str, Any] = {**await ekb.look_up(kind, ids)}
        except EkbError as error:
            found = dict.fromkeys(ids, error)
        except asyncio.CancelledError:
            await self._give_back(calls, planned=False)
            raise
        endings = []
        trouble = None
        for claimed in calls:
            answer = found[claimed.call.invoice_id]
            if isinstance(answer, EkbError):
                tries = answer.attempts or int(isinstance(answer, ApiError) and not answer.preliminary)
                ending = self._ending(claimed, answer, tries)
                trouble = answer if ending.state == "pending" else trouble
            else:
                tries, ending = 1, CallResult(claimed.call.id, "done", answer=answer)
            endings.append(ending._replace(tries=tries))
        kept = await asyncio.gather(*(self._record(ending, planned=not work.is_left) for ending in endings))
        if trouble is not None:
            raise await self._paused(wakeup, trouble)
        self._go_on(wakeup)
        if not all(kept):
            raise Deferred(self._timing.look_again, "the ledger cannot be written")

    # What errors mean

    def _ending(self, claimed: Claimed, error: EkbError, tries: int) -> CallResult:
        """How a call stands that met an error; pending if the error is not its own."""
        call, fault = claimed.call, fault_of(error)
        pending = CallResult(call.id, "pending")
        if fault in {Fault.EVERY_CALL, Fault.UNSENT}:
            return pending
        if fault is Fault.SERVER:
            if error.preliminary:
                self._files_refused[call.id] += 1
            is_safe = call.kind not in PAID or not (answer_lost(error) or isinstance(error, OutcomeUnknownError))
            if is_safe and claimed.attempts + tries + self._files_refused[call.id] < _MOST_TRIES:
                return pending
        self._files_refused.pop(call.id, None)
        return failure(call, error)

    async def _paused(self, wakeup: Wakeup, error: EkbError) -> Deferred:
        """Lets all turns of the tenant and kind pause; calls that were under way together make one pause."""
        key, now = (wakeup.tenant, wakeup.kind), self._now()
        pause = self._pauses.get(key)
        if pause is None or pause.until <= now:
            seconds = self._timing.first_pause if pause is None else min(2 * pause.seconds, self._timing.longest_pause)
            pause = self._pauses[key] = _Pause(seconds, now + seconds, redact(str(error)))
            _log.warning("%s calls of tenant %r pause for %g s: %s", *reversed(key), pause.seconds, pause.reason)
        return await self._later(wakeup, pause.until - now, pause.reason)

    def _go_on(self, wakeup: Wakeup) -> None:
        """The vendor has answered: no pause any more."""
        if self._pauses.pop((wakeup.tenant, wakeup.kind), None) is not None:
            _log.info("%s calls of tenant %r go on", wakeup.kind, wakeup.tenant)

    async def _later(self, wakeup: Wakeup, delay: float, reason: str) -> Deferred:
        try:
            delay = await self._planner.reserve(wakeup, delay, patience=self._timing.reserve_patience)
        except EkbError:
            delay = max(delay, self._timing.look_again)
        return Deferred(delay, reason)

    async def _give_back(self, calls: list[Claimed], *, planned: bool) -> None:
        await asyncio.gather(
            *(self._record(CallResult(claimed.call.id, "pending"), planned=planned) for claimed in calls)
        )

    async def _record(self, ending: CallResult, *, planned: bool) -> bool:
        try:
            await self._ledger.record(ending, planned=planned)
        except EkbError as error:
            _log.error("how call %d ended (%s) cannot be recorded: %s", ending.call_id, ending.state, error)
            return False
        return True


def _is_cancelled() -> bool:
    """Whether the task that runs is being cancelled itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
