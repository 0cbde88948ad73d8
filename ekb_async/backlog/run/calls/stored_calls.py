"""Makes stored calls with a session, for the runs of a backlog and for the workers of job engines.

A billed call waits until its staff ID is found and admitted, its file is located, and it is queued as a job. Each
attempt is marked in the store before it is sent. Look-ups share requests, so a batch of them is made together. The
owner records the result in each `CallEnd`, and decides what to claim, when to pause and when to stop.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ekb_async.backlog.input.rows.fields import fields_of
from ekb_async.backlog.input.rows.kinds import OF_FILES, PAID
from ekb_async.backlog.input.rows.staff import parse_staff
from ekb_async.backlog.run.before.bounds import BoundReachedError, Bounds
from ekb_async.backlog.run.before.budgets import BudgetSpentError, Counted
from ekb_async.backlog.run.before.ledger import Ledger
from ekb_async.backlog.run.calls.call_files import CallFiles
from ekb_async.backlog.run.calls.next_day import NextDay
from ekb_async.backlog.run.calls.staff import StaffIds
from ekb_async.backlog.run.failures import Fault, fault_of
from ekb_async.backlog.run.shown.waits import WaitReason
from ekb_async.backlog.store.values.answers import Answer
from ekb_async.backlog.store.values.calls import OUTCOME_UNKNOWN, UNKNOWN, Call, CallResult, Marking, SentMark, failure
from ekb_async.backlog.store.values.ledger_answers import SOURCE, LedgerAnswer
from ekb_async.config import Priority
from ekb_async.errors import (
    ApiError,
    EkbError,
    OutcomeUnknownError,
    QueueFullError,
)
from ekb_async.models.files import InvoiceFile
from ekb_async.queue.jobs import Phase

if TYPE_CHECKING:
    from ekb_async.queue.jobs import Job
    from ekb_async.session.downloads import Downloads
    from ekb_async.session.session import EkbSession


class ClaimLostError(EkbError):
    """Raised when another run or worker has claimed the call meanwhile. It never leaves this package."""


class ChecksSpentError(EkbError):
    """Raised when an invoice was checked too often today. It never leaves this package."""


class CallEnd(NamedTuple):
    """What became of a stored call: the result to record, and for a failure its error and what that means."""

    result: CallResult
    error: EkbError | None = None
    fault: Fault | None = None
    is_broken_off: bool = False
    """Whether the call was sent, and ended before it was answered."""


@dataclasses.dataclass(eq=False)
class BilledCall:
    """A billed call in progress."""

    call: Call
    """The call; its staff ID is found before it is queued."""
    priority: Priority = Priority.BULK
    job: Job[Any] | None = None
    """The call in the session's queue; None before it is queued."""
    error: EkbError | None = None
    answer: LedgerAnswer | None = None
    """The answer if the ledger had it, so that the call is not made."""
    is_withdrawn: bool = False
    preparing: WaitReason | None = None
    """What it waits for before it is queued."""
    is_probe: bool = False
    """Whether it is made during an outage, to find out whether that has ended."""
    is_paused: bool = False
    """Whether it was taken back for an outage."""
    failure: EkbError | None = None
    """The error of the latest try after which the session was to try again; None without one."""
    counted: Counted = dataclasses.field(default_factory=Counted)
    """Its attempts as they are counted for budgets."""

    @property
    def is_in_flight(self) -> bool:
        """Whether it was sent and is not answered yet."""
        return self.job is not None and self.job.phase is Phase.SENT

    @property
    def is_queued(self) -> bool:
        """Whether it waits for its turn in the session's queue."""
        return self.job is not None and self.job.phase is Phase.WAITING

    @property
    def lacks_file(self) -> bool:
        """Whether it is queued and its file is not uploaded yet."""
        if self.job is None or (order := self.job.order) is None or order.file is None:
            return False
        return bool(order.file.needs_upload)

    @property
    def waits_for(self) -> WaitReason | None:
        """What it waits for besides its turn, None if for nothing else."""
        if self.job is None:
            return self.preparing
        return "vendor" if self.job.phase is Phase.BACKOFF else None

    @property
    def checks(self) -> int:
        """How often the call was sent and not refused for its rate or its token."""
        if (job := self.job) is None:
            return 0
        return max(0, job.attempts - job.history.refused - job.is_refused)

    def withdraw(self) -> None:
        """Take the call back, unless it is running."""
        self.is_withdrawn = True
        if self.job is not None and self.job.state == "queued":
            self.job.cancel()

    def pause(self) -> None:
        """Take the call back for an outage, unless it is running; its next try in the session is not made."""
        self.is_paused = True
        self.withdraw()

    def withdraw_unsent(self) -> None:
        """Take the call back, also if it is about to be sent, unless it was sent."""
        self.withdraw()
        if self.job is not None and self.job.phase is Phase.GRANTED:
            self.job.cancel()


@dataclasses.dataclass(eq=False, kw_only=True)
class StoredCalls:
    """The calls of one tenant, made with its session."""

    session: EkbSession
    tenant: str
    files: CallFiles
    staff: StaffIds
    mark: Callable[[SentMark], Awaitable[Marking]]
    """Writes that a call is about to be sent; returns whether it may be."""
    next_day: NextDay
    may_repeat: Callable[[Call, int], bool]
    """Decides about a call that the vendor's servers failed to process, given the tries that it took."""
    may_begin_again: Callable[[Call, int], bool]
    """The same for a call that was taken back for an outage before the session had made all its tries."""
    repeat_unknown: bool
    note_failed_try: Callable[[BilledCall, EkbError], None] | None = None
    """Called when the vendor's servers have failed to answer a billed call that the session is about to try again."""
    max_wait: Callable[[InvoiceFile | None], float] | None = None
    """Gives the seconds in which a call with this file, or without one, must be sent; None for no limit."""
    queue_full: float | None = None
    """The wait in seconds until a full queue is tried again; None if the call fails with `QueueFullError`."""
    bounds: Bounds | None = None
    """How far the run goes; None if it has no bounds."""
    ledger: Ledger | None = None
    """The ledger if it is asked before a billed call is made."""
    downloads: Downloads | None = None
    """Where downloads are kept; None if there are none."""

    def __post_init__(self) -> None:
        self._submit_locks = {kind: asyncio.Lock() for kind in PAID}

    # Billed calls

    async def make(self, billed: BilledCall) -> None:
        """Make a billed call. Call `end` afterwards, also if this was cancelled, as it is by withdrawing the call."""
        try:
            if self.ledger is not None and await self._ask_ledger(self.ledger, billed):
                return
            self._check_not_spent(billed.call)
            if self.bounds is not None:
                await self.bounds.admit(billed)
            if billed.call.kind == "verify":
                billed.preparing = "person"
                await self._find_staff_id(billed)
            async with self._admission(billed.call):
                call = billed.call
                billed.preparing = "file" if call.kind in OF_FILES else None
                file = await self.files.find(call) if call.kind in OF_FILES else None
                billed.preparing = None
                billed.job = await self._submit(billed, file)
                await self._await(call, billed.job)
        except EkbError as error:
            billed.error = error
        finally:
            if self.bounds is not None:
                self.bounds.release(billed)

    async def _ask_ledger(self, ledger: Ledger, billed: BilledCall) -> bool:
        """Look for the answer in the ledger; return whether it has it."""
        billed.preparing = "ledger"
        billed.answer, warning = await ledger.find(billed.call)
        billed.preparing = None
        if warning:
            await ledger.warn(billed.call, warning)
        return billed.answer is not None

    async def _find_staff_id(self, billed: BilledCall) -> None:
        """Replace the e-mail address, phone or number of a person by the ID, which is looked up."""
        call = billed.call
        staff_id = await self.staff.people.id_of(self.session, self.tenant, call.staff_id)
        if staff_id != call.staff_id:
            billed.call = call._replace(staff_id=staff_id)

    def _admission(self, call: Call) -> AbstractAsyncContextManager[None]:
        return self.staff.admission(self.tenant, call.staff_id) if call.kind == "verify" else nullcontext()

    async def _await(self, call: Call, job: Job[Any]) -> None:
        try:
            await job
        finally:
            job.cancel()
            if call.kind == "verify" and job.state in {"done", "failed"}:
                self.staff.note(self.tenant, call.staff_id, job.failure)

    async def _submit(self, billed: BilledCall, file: InvoiceFile | None) -> Job[Any]:
        call = billed.call
        submit = self._submission(call, file)
        mark = functools.partial(self._mark_sent, billed)
        max_wait = None if self.max_wait is None else self.max_wait(file)

        def on_retry(_: Job[Any], error: EkbError) -> None:
            billed.failure = error
            is_of_servers = fault_of(error, billed=True) in {Fault.SERVER, Fault.UNANSWERED}
            if is_of_servers and self.note_failed_try is not None:
                self.note_failed_try(billed, error)

        # One call per kind retries a full queue; the others wait behind it, in order.
        async with self._submit_locks[call.kind]:
            while not billed.is_withdrawn:
                try:
                    return submit(priority=billed.priority, max_wait=max_wait, mark=mark, on_retry=on_retry)
                except QueueFullError:
                    if self.queue_full is None:
                        raise
                    await asyncio.sleep(self.queue_full)
        raise asyncio.CancelledError

    def _submission(self, call: Call, file: Any) -> Callable[..., Job[Any]]:
        """Return the session's method that queues a call, with the arguments that its row has."""
        session = self.session
        if call.kind == "ocr":
            return functools.partial(session.submit_ocr, file)
        if call.kind == "verify":
            name = call.file_name or None
            return functools.partial(session.submit_verify, file, staff_id=call.staff_id, file_name=name)
        if (fields := fields_of(call.identity)) is None:
            return functools.partial(session.submit_verify_by_id, call.invoice_id)
        amount, check_code = fields.amount or None, fields.check_code or None
        given = {**fields._asdict(), "amount": amount, "check_code": check_code}
        return functools.partial(session.submit_verify_by_fields, **given)

    def _check_not_spent(self, call: Call, checks: int = 1) -> None:
        if self.next_day.has_spent(call, checks):
            raise ChecksSpentError("the invoice was checked too often today")

    async def _mark_sent(self, billed: BilledCall, unconfirmed: int) -> None:
        call = billed.call
        if unconfirmed > 1 and not self.repeat_unknown:
            raise OutcomeUnknownError(OUTCOME_UNKNOWN["error"])
        self._check_not_spent(call, max(unconfirmed, billed.checks + 1))
        if self.bounds is not None:
            await self.bounds.check(billed)
        try:
            marking = await self.mark(SentMark(call.id, unconfirmed, billed.counted.spare_on(billed.checks)))
        except EkbError as error:
            raise error.met_before_sending() from None
        if marking.until is not None:
            raise BudgetSpentError(until=marking.until, wait=marking.wait)
        if not marking.counted_on:
            raise ClaimLostError("another run or worker has the call by now")
        billed.counted.note(marking.counted_on, billed.checks)
        if self.bounds is not None:
            self.bounds.check_time()

    def end(self, billed: BilledCall) -> CallEnd | None:
        """Return what became of a billed call that was made, or whose making was cancelled.

        Returns None if another run or worker has the call, so that nothing is recorded.
        """
        call, job = billed.call, billed.job
        # What a job raises is about all its attempts, and this is about the latest one.
        error = (job.failure if job is not None else None) or billed.error
        if isinstance(error, ClaimLostError):
            return None
        if billed.answer is not None:
            return CallEnd(CallResult(call.id, "done", answer=billed.answer, source=SOURCE))
        end = CallEnd(CallResult(call.id, "pending"))
        if isinstance(error, EkbError):
            end = self._failed(call, error, 0 if job is None else job.attempts)
        elif job is not None and job.state == "done":
            # Also if it was to be taken back after an earlier try.
            end = CallEnd(CallResult(call.id, "done", answer=job.result))
        elif billed.is_paused and job is not None and (self.repeat_unknown or not job.unconfirmed):
            end = self._taken_back(billed, job.attempts)
        if job is None:
            return end
        result = end.result
        is_unanswered = result.state == "pending" and job.unconfirmed
        if is_unanswered:
            # Whether it is made again is up to the run that claims it next.
            unknown = CallResult(call.id, "failed", **OUTCOME_UNKNOWN)
            result = result._replace(error_type=UNKNOWN) if self.repeat_unknown else unknown
        # A job counts the lost answers after which the call was repeated; the store counts the last one too.
        lost = job.maybe_billed + job.unconfirmed
        # The vendor bills no attempt that it refused for the rate, or for its token.
        sent = max(lost, billed.checks)
        unspent = billed.counted.unspent(sent)
        result = result._replace(attempts=sent, maybe_billed=lost, checks=sent, unspent=unspent)
        return end._replace(result=result, is_broken_off=is_unanswered and not billed.is_paused)

    def _taken_back(self, billed: BilledCall, attempts: int) -> CallEnd:
        """Return what becomes of a call that was taken back for an outage, perhaps after tries that failed."""
        call, error = billed.call, billed.failure
        pending = CallEnd(CallResult(call.id, "pending"))
        if error is None:
            return pending
        if billed.is_probe:
            return self._failed(call, error, attempts, repeats=True)
        # The session would have made more tries, so these say less about the row than those of a probe.
        is_of_servers = fault_of(error, billed=True) in {Fault.SERVER, Fault.UNANSWERED}
        if is_of_servers and not self.may_begin_again(call, attempts):
            return CallEnd(failure(call, error), error, Fault.ROW)
        return pending

    # Calls that are not billed

    async def look_up(self, calls: Sequence[Call]) -> list[Any]:
        """Return the answer or the error of each of several look-ups of one kind, or of one download."""
        ids = [call.invoice_id for call in calls]
        kind: Literal["url", "detail"] = "url" if calls[0].kind == "url" else "detail"
        try:
            if calls[0].kind == "download" and self.downloads is not None:
                return [await self.downloads.fetch(invoice_id) for invoice_id in ids]
            found: dict[str, Any] = {**await self.session.look_up(kind, ids)}
        except EkbError as error:
            return [error] * len(ids)
        return [found[invoice_id] for invoice_id in ids]

    def settle(self, call: Call, answer: Answer | EkbError) -> CallEnd:
        """Return what became of a call that is not billed."""
        if not isinstance(answer, EkbError):
            return CallEnd(CallResult(call.id, "done", attempts=1, answer=answer))
        was_answered = isinstance(answer, ApiError) and not answer.preliminary
        return self._failed(call, answer, answer.attempts or int(was_answered))

    def _failed(self, call: Call, error: EkbError, attempts: int, *, repeats: bool = False) -> CallEnd:
        """Return what becomes of a call that failed; `attempts` is how often it was sent.

        `repeats` says whether a call whose answer was lost is made again, since the session was about to do so.
        """
        if isinstance(error, BoundReachedError | BudgetSpentError):
            return CallEnd(CallResult(call.id, "pending", attempts=attempts), error)
        fault = fault_of(error, billed=call.kind in PAID)
        if isinstance(error, ChecksSpentError) or (
            fault in {Fault.ROW, Fault.SERVER} and self.next_day.is_awaited_by(call, error)
        ):
            result = CallResult(call.id, "pending", attempts=attempts, due_at=self.next_day.due_at())
            return CallEnd(result, error, Fault.LATER)
        if fault is Fault.UNANSWERED and repeats:
            fault = Fault.SERVER
        if fault is Fault.SERVER and not self.may_repeat(call, max(1, attempts)):
            fault = Fault.ROW
        is_final = fault in {Fault.UNANSWERED, Fault.ROW}
        if parse_staff(call.staff_id) is not None:
            # The error of a person who was not found names the person as far as that may be shown.
            call = call._replace(staff_id="")
        result = failure(call, error) if is_final else CallResult(call.id, "pending")
        return CallEnd(result._replace(attempts=attempts), error, fault)
