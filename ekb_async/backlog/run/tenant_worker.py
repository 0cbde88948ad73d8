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
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ekb_async.backlog.input.rows.kinds import KINDS, LOOKUPS, PAID
from ekb_async.backlog.run.before.bounds import BoundReachedError, Bounds
from ekb_async.backlog.run.before.budgets import BudgetSpentError
from ekb_async.backlog.run.before.ledger import Ledger
from ekb_async.backlog.run.calls.call_files import CallFiles
from ekb_async.backlog.run.calls.next_day import NextDay
from ekb_async.backlog.run.calls.staff import StaffIds
from ekb_async.backlog.run.calls.stored_calls import BilledCall, CallEnd, StoredCalls
from ekb_async.backlog.run.failures import Fault, Retries, fault_of
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.outage import Outage, shows_working_servers
from ekb_async.backlog.run.recorder import Recorder
from ekb_async.backlog.run.shown.pace import PaceWatch
from ekb_async.backlog.run.shown.tenants import AutoPause
from ekb_async.backlog.run.shown.waits import Wait, WaitReason
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.budgets import room_of
from ekb_async.backlog.store.values.calls import Call, CallResult
from ekb_async.config import SessionConfig
from ekb_async.errors import ApiError, EkbError, StaffNotFoundError

if TYPE_CHECKING:
    from ekb_async.session.session import EkbSession


class TenantWorker:
    """Makes the pending calls of one tenant; `work()` is called once."""

    def __init__(
        self,
        store: CallStore,
        recorder: Recorder,
        session: EkbSession,
        timing: BacklogTiming,
        staff: StaffIds,
        bounds: Bounds,
        tenant: str = "",
        files: Path | None = None,
    ) -> None:
        self.reason: BaseException | None = None
        """The error that ended the worker early."""
        self._store = store
        self._recorder = recorder
        self._staff = staff
        self._bounds = bounds
        self._ledger = Ledger(session, store) if bounds.asks_ledger else None
        self._tenant = tenant
        self._config = session.config
        self.rates = {**dict.fromkeys(PAID, session.config.verify_rate), "ocr": session.config.ocr_rate}
        """The starts per second that are allowed, by kind of billed call."""
        self._pace = PaceWatch(session, self.rates)
        self._downloads = None if files is None else session.downloads(files)
        self._calls = self._stored_calls(session, timing)
        self._retries = Retries(LIMITS.postponements_per_call + 1)
        self._begun_again = Retries(LIMITS.tries_begun_again)
        self._outages = {kind: Outage(timing, store.clock) for kind in KINDS}
        self._reached = False
        self._is_budget_spent = False
        self._postponed: dict[str, list[CallResult]] = {kind: [] for kind in KINDS}
        places = session.config.batch_size * session.config.batch_in_flight
        self._places = {**dict.fromkeys(LOOKUPS, places), "download": session.config.download_in_flight}
        self._sizes = _claim_sizes(session.config, store.claims_ahead, asks_ledger=bounds.asks_ledger)
        self._in_progress: set[BilledCall] = set()
        self._handed: Counter[str] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._break_off_timer: asyncio.TimerHandle | None = None

    def _stored_calls(self, session: EkbSession, timing: BacklogTiming) -> StoredCalls:
        return StoredCalls(
            session=session,
            tenant=self._tenant,
            files=CallFiles(self._store),
            staff=self._staff,
            mark=self._recorder.mark,
            next_day=NextDay(timing, self._store.clock),
            may_repeat=self._may_repeat,
            may_begin_again=lambda call, tries: self._begun_again.allow(call.id, tries),
            note_failed_try=self._note_failed_try,
            repeat_unknown=session.config.repeat_unknown,
            queue_full=timing.queue_full,
            bounds=self._bounds if self._bounds.exist else None,
            ledger=self._ledger,
            downloads=self._downloads,
        )

    @property
    def trouble(self) -> str:
        """The error of an outage, "" while calls are made."""
        return next((outage.text for outage in self._outages.values() if outage.text), "")

    def pauses(self) -> Iterator[AutoPause]:
        """Yield the pauses of the tenant's calls, by kind."""
        for kind, outage in self._outages.items():
            if (pause := outage.shown(self._tenant, kind)) is not None:
                yield pause

    def in_flight(self) -> Counter[str]:
        """Return by kind how many calls were sent and are not answered yet."""
        sent = Counter(billed.call.kind for billed in self._in_progress if billed.is_in_flight)
        # Others wait until one of the requests has ended.
        for kind, handed in self._handed.items():
            sent[kind] = min(handed, self._places[kind])
        return +sent

    def waits(self) -> Iterator[Wait]:
        """Yield what calls wait for, besides their turn."""
        for outage in self._outages.values():
            if outage.text:
                yield Wait(reason="vendor", text=outage.text)
        reasons: Counter[WaitReason | None] = Counter(billed.waits_for for billed in self._in_progress)
        for reason, calls in reasons.items():
            if reason is not None:
                yield Wait(reason=reason, calls=calls)
        queued = defaultdict(list)
        for billed in self._in_progress:
            if billed.is_queued:
                queued[billed.call.kind].append(billed)
        in_flight = self.in_flight()
        for kind, waiting in [*queued.items()]:
            if in_flight[kind] >= self._config.max_running:
                yield Wait(reason="answers", calls=len(waiting))
            elif all(billed.lacks_file for billed in waiting):
                yield Wait(reason="file", calls=len(waiting))
            else:
                continue
            del queued[kind]
        yield from self._pace.waits({kind: len(waiting) for kind, waiting in queued.items()})

    async def work(self, kinds: Sequence[str]) -> None:
        """Make all pending calls of these kinds, also those added meanwhile; return early if `reason` is set."""
        try:
            if self._downloads is not None:
                await self._downloads.prepare()
            while self.reason is None and await self._has_pending(kinds):
                async with asyncio.TaskGroup() as self._group:
                    self._tasks = {kind: self._group.create_task(self._work_kind(kind)) for kind in kinds}
                # A call whose result is not recorded yet would count as claimed by another run.
                await self._flush()
        finally:
            if self._break_off_timer is not None:
                self._break_off_timer.cancel()

    async def _has_pending(self, kinds: Sequence[str]) -> bool:
        wanted = self._bounds.open(kinds)
        if not await self._within_budget(1):
            wanted = [kind for kind in wanted if kind not in PAID]
        return bool(wanted) and await self._store.has_pending(self._tenant, wanted)

    def wind_down(self) -> None:
        """Claim no more calls of the kinds that are over, and take back those of them that were not sent."""
        for kind, outage in self._outages.items():
            if self._bounds.is_over(kind):
                outage.interrupt()
        for billed in self._in_progress:
            if self._bounds.is_over(billed.call.kind):
                billed.withdraw_unsent()

    def stop(self, reason: BaseException) -> None:
        """End the worker for a reason that holds for every further call."""
        if self.reason is not None:
            return
        self.reason = reason
        for kind, outage in self._outages.items():
            outage.stop()
            self._withdraw(kind)
        self._break_off_timer = asyncio.get_running_loop().call_later(self._config.close_timeout, self._break_off)

    def _withdraw(self, kind: str, staff_id: str | None = None) -> None:
        """Take back the calls of a kind that are not running, those of one staff ID or all."""
        for billed in self._in_progress:
            if billed.call.kind == kind and staff_id in {None, billed.call.staff_id}:
                billed.withdraw()

    def _pause(self, kind: str) -> None:
        for billed in self._in_progress:
            if billed.call.kind == kind:
                billed.pause()

    def give_back(self, calls: Collection[int]) -> None:
        """Take back those of these calls that were not sent, because a person holds them."""
        for billed in self._in_progress:
            if billed.call.id in calls and not (billed.job is not None and billed.job.unconfirmed):
                billed.withdraw_unsent()

    def look_again(self) -> None:
        """Claim calls again also of the kinds of which none was left, because some may have become pending."""
        if self.reason is not None or all(task.done() for task in self._tasks.values()):
            return
        for kind, task in self._tasks.items():
            if task.done() and not self._bounds.is_over(kind):
                self._tasks[kind] = self._group.create_task(self._work_kind(kind))

    def _break_off(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    async def _work_kind(self, kind: str) -> None:
        """Claim calls of a kind and make them until none is left or the worker is stopped."""
        limit, per_task, refill_share = self._sizes[kind]
        make: Callable[..., Coroutine[Any, Any, None]] = self._make_billed if kind in PAID else self._make_unbilled
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
                    if self._bounds.is_over(kind):
                        return
                    free = (1 if outage.is_on else limit) - unfinished
                    # The first rows may be ones that no server can process, so an outage is probed with the latest.
                    claimed = await self._claim(kind, free, latest=outage.is_on)
                    for part in (claimed[i : i + per_task] for i in range(0, len(claimed), per_task)):
                        task = calls.create_task(self._stop_on_bug(make(*part)))
                        task.add_done_callback(functools.partial(finish, len(part)))
                    unfinished += len(claimed)
                    if not unfinished:
                        if not self._return_postponed(kind):
                            return
                        await self._flush()
                    # The next claim comes when a part is free again, the last one when all calls have ended.
                    low_mark = int(refill_share * limit) if len(claimed) == free and not outage.is_on else 0
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
            if kind in PAID and not (limit := await self._within_budget(limit)):
                return []
            claimed = await self._store.claim(self._recorder.run_id, self._tenant, kind, limit, latest=latest)
            if self._ledger is not None and kind in PAID:
                await self._ledger.read_keys(claimed)
        except EkbError as error:
            self.stop(error)
            return []
        return claimed

    async def _within_budget(self, limit: int) -> int:
        """Return how many of so many billed calls budgets allow; they are read once one was found to be spent."""
        if self._is_budget_spent:
            limit = min(limit, await room_of(self._store, self._tenant))
            self._is_budget_spent = not limit
        return limit

    def _return_postponed(self, kind: str) -> bool:
        """Hand postponed calls to the recorder as pending; return whether there were any."""
        postponed, self._postponed[kind] = self._postponed[kind], []
        for result in postponed:
            self._recorder.end(result)
        return bool(postponed)

    async def _flush(self) -> None:
        # If nothing can be written, the recorder has stopped the run.
        with contextlib.suppress(EkbError):
            await self._recorder.flush()

    # Calls

    async def _make_billed(self, call: Call) -> None:
        billed = BilledCall(call, is_probe=self._outages[call.kind].is_on)
        self._in_progress.add(billed)
        try:
            await self._calls.make(billed)
        finally:
            self._in_progress.discard(billed)
            self._end_billed(billed)

    def _end_billed(self, billed: BilledCall) -> None:
        call, end = billed.call, self._calls.end(billed)
        if end is None:
            return
        if isinstance(end.error, StaffNotFoundError) and self._staff.refusal(self._tenant, call.staff_id):
            if billed.job is None:
                # The call stays claimed until the run ends, so that it is not claimed again and again.
                self._staff.waiting[call.staff_id] += call.row_count
                return
            self._withdraw(call.kind, call.staff_id)
        if isinstance(end.error, BudgetSpentError) and not self._is_budget_spent:
            self._is_budget_spent = True
            for kind in PAID:
                self._withdraw(kind)
        if isinstance(end.error, BoundReachedError) and billed.job is None and self._bounds.holds:
            self._bounds.held += 1
            return
        if billed.answer is not None:
            self._recorder.saved += 1
            self._reached = True
            self._outages[call.kind].end_of_look_ups()
        elif billed.job is not None and (end.fault is not None or end.result.state == "done"):
            self._note(call.kind, end.error, end.fault)
        elif end.error is not None and end.error.preliminary:
            # A look-up failed that came first.
            self._note(call.kind, end.error, end.fault, of_look_up=True)
        self._recorder.broken_off += end.is_broken_off
        self._record(call, end)

    async def _make_unbilled(self, *calls: Call) -> None:
        kind = calls[0].kind
        self._handed[kind] += len(calls)
        try:
            answers = await self._calls.look_up(calls)
        finally:
            self._handed[kind] -= len(calls)
        # All IDs were asked for in one request, so its failure counts once.
        errors = [answer for answer in answers if isinstance(answer, EkbError)]
        self._note(kind, errors[0] if len(errors) == len(answers) else None)
        for call, answer in zip(calls, answers, strict=True):
            self._record(call, self._calls.settle(call, answer))

    def _may_repeat(self, call: Call, _: int) -> bool:
        return self._retries.allow(call.id, answers=self._outages[call.kind].answers)

    def _note(self, kind: str, error: EkbError | None, fault: Fault | None = None, *, of_look_up: bool = False) -> None:
        """Count the outcome of a request, `error` is None for success, and handle an outage that it may reveal."""
        outage = self._outages[kind]
        if error is not None and fault is None:
            fault = fault_of(error, billed=kind in PAID)
        if error is None or shows_working_servers(error, fault):
            self._reached = True
            outage.end()
        elif fault in {Fault.UNSENT, Fault.SERVER, Fault.UNANSWERED}:
            self._reached |= fault is not Fault.UNSENT or isinstance(error, ApiError) or kind == "download"
            if not self._reached:
                # If the vendor was never reached, the address is probably wrong.
                self.stop(error)
            elif outage.note(error, fault, of_look_up=of_look_up):
                self._recorder.news.set()
                if outage.is_hopeless:
                    self.stop(error)
                else:
                    self._pause(kind)

    def _note_failed_try(self, billed: BilledCall, error: EkbError) -> None:
        self._note(billed.call.kind, error)

    def _record(self, call: Call, end: CallEnd) -> None:
        """Record the end of a call, and stop the worker if every further call would fail as well."""
        if end.fault is Fault.EVERY_CALL and end.error is not None:
            self.stop(end.error)
        if end.fault is Fault.SERVER and end.result.state == "pending":
            self._postponed[call.kind].append(end.result)
        else:
            self._recorder.tally.add(call, end.result)
            self._recorder.end(end.result)


def _claim_sizes(config: SessionConfig, claims_ahead: int, *, asks_ledger: bool) -> dict[str, tuple[int, int, float]]:
    """Return by kind how many calls are claimed at most, how many of them are made together, and the refill share."""
    batch, share = config.batch_size, LIMITS.refill_share
    look_ups = (LIMITS.lookup_rounds_claimed_ahead * batch * config.batch_in_flight, batch, share)
    # At least as many as can be in flight, so that the session is never idle until the next claim.
    billed = (max(claims_ahead, config.max_running), 1, share)
    if asks_ledger:
        billed = (max(billed[0], LIMITS.ledger_calls_claimed_ahead), 1, LIMITS.ledger_refill_share)
    downloads = (LIMITS.downloads_claimed_ahead, 1, share)
    return {**dict.fromkeys(PAID, billed), **dict.fromkeys(LOOKUPS, look_ups), "download": downloads}
