"""What a worker does with a wakeup: make the next call, or say when to come back.

A wakeup never fails. Its call ends in the call table, with a result or an error. What stops a wakeup without being its
call's fault (no slot within 2 s, a database or a vendor out of reach, keys that are refused) leaves the call pending
and postpones the wakeup. What stopped one call would stop others of its tenant and kind, so they pause together, longer
each time, and one of them is tried once to find out whether the trouble has ended. The same holds when the vendor's
servers fail to answer several tries in a row: calls that the session was about to try again are taken back.

An engine may cancel a wakeup while its call is in progress, for example if its database is unreachable. A call that was
sent has been paid for: it goes on, its answer is recorded when the database is back, and the same wakeup, handed out
again, waits for it. A call that was not sent becomes pending again, and look-ups are recorded when they are answered.

Billed calls are made once. If the answer is lost, the call fails with `OutcomeUnknownError` and is left for a person to
decide, unless the worker was configured to repeat it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Collection, Iterator, Sequence

from ekb_async.aio.tasks import TaskScope, is_being_cancelled
from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.run.before.budgets import BudgetSpentError
from ekb_async.backlog.run.calls.call_files import CallFiles
from ekb_async.backlog.run.calls.next_day import NextDay
from ekb_async.backlog.run.calls.staff import StaffIds
from ekb_async.backlog.run.calls.stored_calls import BilledCall, CallEnd, StoredCalls
from ekb_async.backlog.run.failures import Fault, Retries
from ekb_async.backlog.run.limits import LIMITS as RUN_LIMITS
from ekb_async.backlog.run.outage import Pause, shows_working_servers
from ekb_async.backlog.run.shown.tenants import AutoPause
from ekb_async.backlog.store.values.calls import Call, CallResult
from ekb_async.config import Priority
from ekb_async.errors import EkbError, QueueFullError, QueueTimeoutError
from ekb_async.ext.engines.handling.budgets import SpentBudgets
from ekb_async.ext.engines.handling.call_table import CallTable, ClaimedCall
from ekb_async.ext.engines.limits import LIMITS
from ekb_async.ext.engines.plan import Planner
from ekb_async.ext.engines.timing import WorkerTiming
from ekb_async.ext.engines.wakeups import Deferred, Wakeup
from ekb_async.models.files import InvoiceFile
from ekb_async.session.session import EkbSession
from ekb_async.session.tenants import TenantSessions

_log = logging.getLogger("ekb_async.engines")


class _Execution:
    """A wakeup in progress."""

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        """The tenant and kind of the wakeup."""
        self.task: asyncio.Task[None] | None = None
        self.billed: BilledCall | None = None
        self.is_probe = False
        """Whether its call is made during a pause, to find out whether the trouble has ended."""
        self.is_given_up = False
        """Whether the engine may have given up the wakeup, so that a call that becomes pending needs another one."""

    def give_up(self) -> None:
        """Withdraw a billed call that was not sent; anything else goes on."""
        self.is_given_up = True
        if self.billed is not None and not (self.billed.job is not None and self.billed.job.unconfirmed):
            self.billed.withdraw()


class Dispatcher:
    """Handles the wakeups of a worker."""

    def __init__(
        self,
        table: CallTable,
        planner: Planner,
        sessions: TenantSessions,
        files: CallFiles,
        timing: WorkerTiming,
        next_day: NextDay,
        budgets: SpentBudgets,
        *,
        repeat_unknown: bool,
    ) -> None:
        self._table = table
        self._planner = planner
        self._sessions = sessions
        self._files = files
        self._timing = timing
        self._next_day = next_day
        self._budgets = budgets
        self._repeat_unknown = repeat_unknown
        self._pauses: dict[tuple[str, str], Pause] = {}
        self._in_progress: dict[str, _Execution] = {}
        self._staff = StaffIds(retry_after=RUN_LIMITS.staff_refusal_seconds)
        self._retries = Retries(LIMITS.max_tries_per_call)
        self._scope = TaskScope()
        self._closed = False
        self._lag = 0.0
        """How many seconds the latest claims took, on average."""

    def __repr__(self) -> str:
        return f"<Dispatcher: {len(self._in_progress)} wakeups in progress, {len(self._pauses)} pauses>"

    def shown_pauses(self) -> Iterator[AutoPause]:
        """Yield the pauses of tenants and kinds, as they are shown."""
        for (tenant, kind), pause in self._pauses.items():
            if (shown := pause.shown(tenant, kind)) is not None:
                yield shown

    def now(self) -> float:
        """Return the time of the database in epoch seconds, by which the engine decides when a wakeup is due."""
        now = self._planner.now()
        return time.time() if now is None else now

    async def handle(self, wakeup: Wakeup) -> None:
        """Make the next call of the wakeup's tenant and kind. Raises `Deferred` if the wakeup is postponed.

        If this is cancelled, a call that was sent goes on.
        """
        if self._closed:
            raise Deferred(self._timing.look_again, "the worker is closing")
        execution = self._in_progress.get(wakeup.id)
        if execution is None or execution.task is None:
            execution = self._in_progress[wakeup.id] = _Execution((wakeup.tenant, wakeup.kind))
            execution.task = self._scope.start(self._run(wakeup, execution), name=f"ekb wakeup {wakeup.id}")
            execution.task.add_done_callback(functools.partial(self._on_done, wakeup))
        try:
            await asyncio.shield(execution.task)
        except asyncio.CancelledError:
            if execution.task.cancelled() and not is_being_cancelled():
                raise Deferred(self._timing.look_again, "the call of this wakeup was given back") from None
            execution.give_up()
            raise

    def resume(self, tenants: Collection[str]) -> None:
        """End the pauses of these tenants; their wakeups are still postponed."""
        for key in [key for key in self._pauses if key[0] in tenants]:
            self._pauses.pop(key).end()

    async def close(self) -> None:
        """Wait up to `close_timeout` for calls that were sent; all others become pending again."""
        self._closed = True
        for execution in list(self._in_progress.values()):
            execution.give_up()
        await self._scope.finish(self._timing.close_timeout)

    def _on_done(self, wakeup: Wakeup, task: asyncio.Task[None]) -> None:
        del self._in_progress[wakeup.id]
        if not task.cancelled():
            # The handler may have been cancelled, and then nothing else retrieves the exception.
            task.exception()

    async def _run(self, wakeup: Wakeup, execution: _Execution) -> None:
        if (wait := self._budgets.wait(wakeup.tenant, wakeup.kind)) > 0 and not execution.is_given_up:
            raise await self._deferred(wakeup, wait, "the budget of billed calls is spent")
        pause = self._pauses.get(execution.key)
        if pause is not None and pause.is_on:
            if pause.left <= 0 and not self._is_probed(execution.key):
                execution.is_probe = True
            else:
                delay = pause.left if pause.left > 0 else self._timing.look_again
                deferred = await self._deferred(wakeup, delay, pause.text)
                if not execution.is_given_up:
                    raise deferred
        await self._claim_and_make(wakeup, execution)

    def _is_probed(self, key: tuple[str, str]) -> bool:
        return any(execution.is_probe and execution.key == key for execution in self._in_progress.values())

    async def _claim_and_make(self, wakeup: Wakeup, execution: _Execution) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            # The first calls may be ones that no server can process.
            claim = await self._table.claim(wakeup, latest=execution.is_probe)
        except EkbError as error:
            raise Deferred(self._timing.look_again, str(error)) from None
        self._lag += LIMITS.share_of_latest_claim * (loop.time() - began - self._lag)
        if claim.is_sent_elsewhere:
            raise Deferred(self._timing.look_again, "another worker has sent the call of this wakeup")
        if claim.is_early:
            raise Deferred(self._timing.soon, "no call is planned yet")
        if execution.is_given_up:
            await self._give_back(claim.calls)
        elif claim.calls:
            await self._make_calls(wakeup, claim.calls, execution)

    async def _make_calls(self, wakeup: Wakeup, claims: list[ClaimedCall], execution: _Execution) -> None:
        if wakeup.kind in PAID:
            # There is more than one only if several workers that had the wakeup at once have died.
            claims, others = claims[:1], claims[1:]
            await self._give_back(others)
            execution.billed = BilledCall(claims[0].call, Priority(claims[0].priority), is_probe=execution.is_probe)
        async with contextlib.AsyncExitStack() as stack:
            try:
                ekb = await stack.enter_async_context(self._sessions.session(wakeup.tenant))
            except EkbError as error:
                ends = [CallEnd(CallResult(claimed.call.id, "pending"), error) for claimed in claims]
                deferred = await self._settle(wakeup, ends, execution)
            else:
                deferred = await self._make(self._stored_calls(ekb, wakeup, claims), wakeup, claims, execution)
        if deferred is not None:
            raise deferred

    def _stored_calls(self, ekb: EkbSession, wakeup: Wakeup, claims: list[ClaimedCall]) -> StoredCalls:
        attempts = {claimed.call.id: claimed.attempts for claimed in claims}

        def may_repeat(call: Call, tries: int) -> bool:
            return self._retries.allow(call.id, tries, stored=attempts[call.id])

        return StoredCalls(
            session=ekb,
            tenant=wakeup.tenant,
            files=self._files,
            staff=self._staff,
            mark=self._table.mark,
            next_day=self._next_day,
            may_repeat=may_repeat,
            may_begin_again=may_repeat,
            repeat_unknown=self._repeat_unknown,
            note_failed_try=lambda _, error: self._note_failure(wakeup, error, Fault.SERVER),
            max_wait=self._max_wait,
        )

    def _max_wait(self, file: InvoiceFile | None) -> float:
        # Where host and database are too busy to give slots in time, to postpone wakeups would be still more work.
        wait = self._timing.gate_wait + min(LIMITS.claims_waited_for * self._lag, LIMITS.longest_lag_seconds)
        # A wakeup that waits for its file occupies one of the worker's places, but no slot.
        return wait if file is None or isinstance(file, str) else wait + self._timing.file_wait

    async def _make(
        self, calls: StoredCalls, wakeup: Wakeup, claims: list[ClaimedCall], execution: _Execution
    ) -> Deferred | None:
        if (billed := execution.billed) is None:
            wanted = [claimed.call for claimed in claims]
            answers = await calls.look_up(wanted)
            ends = [calls.settle(call, answer) for call, answer in zip(wanted, answers, strict=True)]
            return await self._settle(wakeup, ends, execution)
        deferred = None
        try:
            await calls.make(billed)
        except asyncio.CancelledError:
            if not billed.is_paused or is_being_cancelled():
                raise
        finally:
            if (end := calls.end(billed)) is not None:
                deferred = await self._settle(wakeup, [end], execution)
            else:
                # The other worker needs the wakeup, and the engine might take it for done.
                deferred = Deferred(self._timing.look_again, "another worker has the call by now")
        return deferred

    async def _settle(self, wakeup: Wakeup, ends: Sequence[CallEnd], execution: _Execution) -> Deferred | None:
        """Record the calls of a wakeup; return the `Deferred` to raise if the wakeup is postponed."""
        deferred = None
        # A call that waits for another day gets another wakeup then.
        unmade = [end for end in ends if end.result.state == "pending" and end.fault is not Fault.LATER]
        pending = [end.error for end in unmade if end.error is not None]
        if pending:
            deferred = await self._deferred_by(wakeup, pending[-1])
        else:
            self._note_ends(wakeup, ends)
            if unmade and execution.billed is not None and execution.billed.is_paused:
                pause = self._pause_of(wakeup)
                deferred = await self._deferred(wakeup, max(0.0, pause.left), pause.text)
        planned = deferred is not None and not execution.is_given_up
        are_recorded = await self._record([end.result for end in ends], planned=planned)
        return deferred if are_recorded else Deferred(self._timing.look_again, "the call table cannot be written")

    # Pauses

    def _pause_of(self, wakeup: Wakeup) -> Pause:
        """Return the pause of a wakeup's tenant and kind, which counts failures before it begins."""
        if (pause := self._pauses.get((wakeup.tenant, wakeup.kind))) is None:
            calls = f"{wakeup.kind} calls of tenant {wakeup.tenant!r}"
            pause = Pause(self._timing.first_pause, self._timing.longest_pause, _log, calls, self.now)
            self._pauses[wakeup.tenant, wakeup.kind] = pause
        return pause

    def _note_failure(self, wakeup: Wakeup, error: EkbError, fault: Fault) -> None:
        """Count a try that the vendor's servers failed to answer; several in a row begin a pause."""
        if self._pause_of(wakeup).note_failure(error, fault):
            self._take_back(wakeup)

    def _take_back(self, wakeup: Wakeup) -> None:
        """Take back the billed calls of a wakeup's tenant and kind that are not running."""
        for execution in self._in_progress.values():
            if execution.billed is not None and execution.key == (wakeup.tenant, wakeup.kind):
                execution.billed.pause()

    def _note_ends(self, wakeup: Wakeup, ends: Sequence[CallEnd]) -> None:
        """Count calls whose answer was lost; end the pause if the vendor has answered."""
        for result, error, fault, _ in ends:
            if error is not None and fault is Fault.UNANSWERED:
                self._note_failure(wakeup, error, fault)
            elif result.state == "done" or (error is not None and shows_working_servers(error, fault)):
                self._end_pause(wakeup)

    def _end_pause(self, wakeup: Wakeup) -> None:
        if (pause := self._pauses.pop((wakeup.tenant, wakeup.kind), None)) is not None:
            pause.end()

    # Postponement and records

    async def _deferred_by(self, wakeup: Wakeup, error: EkbError) -> Deferred:
        """Return the `Deferred` for an error; the tenant and kind pause, but not for a long queue or a spent budget."""
        if isinstance(error, QueueTimeoutError | QueueFullError):
            return await self._deferred(wakeup, 0.0, str(error))
        if isinstance(error, BudgetSpentError):
            return await self._deferred(wakeup, self._budgets.note(wakeup.tenant, error), str(error))
        pause = self._pause_of(wakeup)
        pause.begin(error)
        self._take_back(wakeup)
        return await self._deferred(wakeup, pause.left, pause.text)

    async def _deferred(self, wakeup: Wakeup, delay: float, reason: str) -> Deferred:
        """Reserve a new plan slot and return the `Deferred` that postpones the wakeup until then."""
        try:
            delay = await self._planner.reserve(wakeup, delay, patience=self._timing.reserve_patience)
        except EkbError:
            delay = max(delay, self._timing.look_again)
        return Deferred(delay, reason)

    async def _give_back(self, claims: list[ClaimedCall]) -> None:
        """Make claimed calls pending again; they get other wakeups."""
        await self._record([CallResult(claimed.call.id, "pending") for claimed in claims], planned=False)

    async def _record(self, results: Sequence[CallResult], *, planned: bool) -> bool:
        """Record results in the call table, and whether pending ones have a wakeup; return whether that succeeded."""
        recorded = await asyncio.gather(
            *(self._table.record(result, planned=planned) for result in results), return_exceptions=True
        )
        for result, error in zip(results, recorded, strict=True):
            if result.state != "pending":
                self._retries.forget(result.call_id)
            if isinstance(error, EkbError):
                _log.error("the result of call %d (%s) cannot be recorded: %s", result.call_id, result.state, error)
            elif error is not None:
                raise error
        return not any(recorded)
