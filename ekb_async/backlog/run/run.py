"""One run over a backlog, with a session for each tenant that has pending calls.

Each tenant has its own worker (`tenant_worker`), so that a failure of one, such as refused keys, does not stop others.
Tenants with the fewest calls start first, so that small tenants do not wait behind large ones. Several runs may work on
one backlog. At its start, and whenever it looks for more tenants, a run takes over the calls of runs that were killed.

A run ends early when results cannot be recorded, when the caller's `progress` fails, and when it is cancelled: then all
workers are stopped. Repeated cancellations count as one, because a cancel scope of anyio cancels in every iteration of
the event loop. Only `break_off` breaks off the calls in flight at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from ekb_async.aio.tasks import await_uncancelled, is_being_cancelled
from ekb_async.backlog.input.rows.kinds import KINDS, LOOKUPS, PAID
from ekb_async.backlog.run.before.bounds import Bounds
from ekb_async.backlog.run.calls.staff import StaffIds
from ekb_async.backlog.run.limits import LIMITS, RunLimits
from ekb_async.backlog.run.pausing import PauseWatch
from ekb_async.backlog.run.recorder import Recorder
from ekb_async.backlog.run.reporter import Load, Reporter
from ekb_async.backlog.run.shown.progress import Progress, Summary
from ekb_async.backlog.run.shown.tenants import GivenUp, moment_at
from ekb_async.backlog.run.tenant_worker import TenantWorker
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.budgets import tenants_to_serve
from ekb_async.backlog.store.values.calls import counts_of
from ekb_async.backlog.store.values.reports import held_rows, waiting_rows
from ekb_async.errors import ConfigError, EkbError
from ekb_async.redaction.masking import redact
from ekb_async.session.session import EkbSession


class SessionPool(Protocol):
    """The sessions of tenants."""

    def session(self, tenant: str, /) -> AbstractAsyncContextManager[EkbSession]:
        """Return the session of a tenant; it stays open for the duration of the block."""
        ...

    async def changed(self) -> Collection[str]:
        """Return the tenants whose account has changed since this was called before."""
        ...


class _AccountChangedError(Exception):
    """Ends the worker of a tenant that goes on with another session."""


class Run:
    """One run over a backlog; `work()` is called once."""

    def __init__(
        self,
        store: CallStore,
        sessions: EkbSession | SessionPool,
        timing: BacklogTiming,
        progress: Callable[[Progress], None] | None = None,
        files: Path | None = None,
        *,
        bounds: Bounds | None = None,
        limits: RunLimits = LIMITS,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._timing = timing
        self._limits = limits
        self._has_one_session = isinstance(sessions, EkbSession)
        self._files = files
        self._kinds = KINDS if files is not None else (*PAID, *LOOKUPS)
        # With tenants this is set once the first session is open; a run that is killed before that has sent nothing.
        self._hold_unknown = isinstance(sessions, EkbSession) and not sessions.config.repeat_unknown
        self._recorder = Recorder(store)
        self._staff = StaffIds()
        self._bounds = bounds or Bounds(store.clock)
        self._bounds.on_stop = self._wind_down
        self._workers: dict[str, TenantWorker | None] = {}
        self._ended_early: dict[str, BaseException] = {}
        self._are_left_to_others = False
        """Whether other runs have calls that may become pending, or hold calls that are due."""
        self._changed = asyncio.Event()
        self._task: asyncio.Task[Summary] | None = None
        self._broken_off = False
        self._tenant_lookup: asyncio.Task[list[str]] | None = None
        self._reason: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._pauses = PauseWatch(store, self._workers, timing, self._note_pauses)
        self._reporter = Reporter(
            store, self._recorder, self._workers, self._staff, timing, progress, has_directory=files is not None
        )

    async def work(self) -> Summary:
        """Make all pending calls. Raises the error that ended the run early."""
        self._task = asyncio.create_task(self._work())
        return await await_uncancelled(self._task, on_cancel=self._end_in_order)

    def break_off(self) -> None:
        """End at once: break off the calls in flight, and count those that were sent."""
        self._stop(asyncio.CancelledError())
        if self._task is not None and not self._broken_off:
            self._broken_off = True
            self._task.cancel()

    @property
    def broken_off(self) -> int:
        """The number of billed calls that were sent and broken off before they were answered."""
        return self._recorder.broken_off

    async def end(self) -> None:
        """End in order because the backlog is being closed; return once the calls in flight are recorded."""
        self._stop(ConfigError("the backlog was closed while a run was active"))
        if self._task is not None:
            await asyncio.wait([self._task])

    def _end_in_order(self) -> None:
        self._stop(asyncio.CancelledError())
        if self._task is not None and not self._recorder.run_id:
            # Nothing has been claimed yet, and registering the run may take a while.
            self._task.cancel()

    async def _work(self) -> Summary:
        try:
            await self._begin()
            async with asyncio.TaskGroup() as group:
                recording = group.create_task(self._recorder.write(self._stop))
                reporter = group.create_task(self._reporter.report(self._stop))
                saying = group.create_task(self._reporter.say())
                serving = group.create_task(self._serve_tenants())
                watching = [
                    group.create_task(self._bounds.watch()),
                    group.create_task(self._pauses.watch(lambda: self._recorder.run_id)),
                ]
                await asyncio.wait([serving])
                self._recorder.close()
                reporter.cancel()
                saying.cancel()
                for task in watching:
                    task.cancel()
                if not self._recorder.has_results:
                    # It may be waiting for a file that cannot be written, and there is nothing left to lose.
                    recording.cancel()
        except BaseExceptionGroup as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            await await_uncancelled(asyncio.ensure_future(self._finish()))
        reason = self._reason or self._first_reason()
        try:
            load = await self._reporter.read()
            failures = await self._store.failures()
        except EkbError:
            if reason is not None:
                raise reason from None
            raise
        self._reporter.conclude(load)
        if reason is not None:
            raise reason
        return self._summary(load, failures)

    def _summary(self, load: Load, failures: dict[str, int]) -> Summary:
        counts, waiting = load
        return Summary(
            counts=counts_of(counts),
            failures=failures,
            seconds=self._loop.time() - self._start,
            refused_staff=dict(self._staff.waiting),
            waiting=waiting_rows(waiting),
            held=held_rows(waiting),
            over_budget=waiting_rows(waiting, for_budget=True),
            stopped=self._bounds.stopped,
            saved=self._recorder.saved,
            causes=self._recorder.tally.causes(),
            verified=self._recorder.tally.verified(),
            maybe_billed=self._recorder.tally.maybe_billed,
        )

    async def _begin(self) -> None:
        self._recorder.run_id = await self._store.begin_run(hold_unknown=self._hold_unknown)
        await self._reporter.begin()

    async def _finish(self) -> None:
        if not self._recorder.run_id:
            return
        try:
            await self._recorder.write_rest()
        finally:
            await self._store.end_run(self._recorder.run_id)

    def _stop(self, reason: BaseException) -> None:
        """End the run for a reason that holds for every further call of all tenants."""
        if self._reason is not None:
            return
        self._reason = reason
        self._changed.set()
        if self._tenant_lookup is not None:
            # It may be waiting for a file that cannot be written.
            self._tenant_lookup.cancel()
        for worker in self._workers.values():
            if worker is not None:
                worker.stop(reason)

    def _wind_down(self) -> None:
        """Claim no more calls of the kinds that are over; calls in flight end and are recorded."""
        self._changed.set()
        for worker in self._workers.values():
            if worker is not None:
                worker.wind_down()

    def _note_pauses(self) -> None:
        """Look for tenants again, and show what has changed."""
        self._changed.set()
        self._recorder.news.set()

    # Tenants

    async def _serve_tenants(self) -> None:
        """Start a worker per tenant with pending calls, tenants added meanwhile included; return when none is left."""
        async with asyncio.TaskGroup() as serving:
            while self._reason is None and not (self._has_one_session and self._ended_early):
                self._changed.clear()
                before, was_idle = self._loop.time(), not self._workers
                try:
                    await self._follow_accounts()
                    self._tenant_lookup = asyncio.ensure_future(self._waiting_tenants())
                    for tenant in await self._tenant_lookup:
                        self._workers[tenant] = None
                        serving.create_task(self._serve(tenant))
                    # Rows that wait for a corrected staff ID stay claimed by this run until it ends.
                    holds_calls = self._staff.waiting or self._bounds.held
                    is_idle = was_idle and not self._workers
                    if is_idle and (holds_calls or not self._are_left_to_others):
                        return
                except EkbError as error:
                    # Calls in flight are billed, so the run stops in order.
                    self._stop(error)
                    return
                except asyncio.CancelledError:
                    if is_being_cancelled():
                        raise
                    # Only the look-up was cancelled, because the run is stopped.
                    return
                self._reporter.waiting_for = "another run has the rest" if is_idle else ""
                self._recorder.news.set()
                pause = max(self._timing.other_runs, (self._loop.time() - before) / self._limits.polling_share)
                with contextlib.suppress(TimeoutError):
                    # With one session there is no other tenant to start, so only its worker's end matters.
                    async with asyncio.timeout(None if self._has_one_session and self._workers else pause):
                        await self._changed.wait()

    async def _follow_accounts(self) -> None:
        """Start over with tenants whose account has changed, those that ended early included."""
        if isinstance(self._sessions, EkbSession):
            return
        for tenant in await self._sessions.changed():
            if self._ended_early.pop(tenant, None) is not None:
                self._note_given_up(tenant, None)
            if (worker := self._workers.get(tenant)) is not None:
                worker.stop(_AccountChangedError())

    async def _waiting_tenants(self) -> list[str]:
        """Return the tenants that have pending calls and no worker, at most as many as there is room for."""
        self._are_left_to_others = False
        if not (kinds := self._bounds.open(self._kinds)):
            return []
        await self._store.take_over(hold_unknown=self._hold_unknown)
        # Looked up before pending calls, so that calls which are woken or released in between are found as one or the
        # other.
        is_idle = not self._workers
        self._are_left_to_others = await self._store.has_due() or (is_idle and await self._store.has_running(kinds))
        pending = await tenants_to_serve(self._store, kinds)
        if self._has_one_session and any(pending) and not self._workers:
            raise ConfigError("rows have a tenant: run with a callable that gives the session of a tenant")
        room = self._limits.tenants_at_once - len(self._workers)
        return [tenant for tenant in pending if tenant not in self._workers and tenant not in self._ended_early][:room]

    async def _serve(self, tenant: str) -> None:
        reason: BaseException | None = None
        try:
            async with self._session(tenant) as session:
                await self._adopt_setting(session)
                worker = self._workers[tenant] = self._worker(tenant, session)
                self._reporter.rates[tenant] = worker.rates
                if self._reason is not None:
                    worker.stop(self._reason)
                await worker.work(self._kinds)
                reason = worker.reason
        except Exception as error:  # noqa: BLE001 - calls of other tenants are in flight and must go on
            reason = _first(error)
        finally:
            del self._workers[tenant]
            self._changed.set()
        if reason is not None and not isinstance(reason, _AccountChangedError):
            self._ended_early[tenant] = reason
            if self._reason is None:
                self._note_given_up(tenant, reason)

    def _note_given_up(self, tenant: str, reason: BaseException | None) -> None:
        """Show that a tenant is given up, or with None that it is not any more."""
        others = [each for each in self._reporter.given_up if each.tenant != tenant]
        if reason is not None:
            text = redact(str(reason) or type(reason).__name__)
            others.append(GivenUp(tenant=tenant, since=moment_at(self._store.clock()), reason=text))
        self._reporter.given_up = tuple(others)
        self._recorder.news.set()

    def _worker(self, tenant: str, session: EkbSession) -> TenantWorker:
        return TenantWorker(
            self._store, self._recorder, session, self._timing, self._staff, self._bounds, tenant, self._files
        )

    def _session(self, tenant: str) -> AbstractAsyncContextManager[EkbSession]:
        if isinstance(self._sessions, EkbSession):
            # The caller of the run closes its one session.
            return contextlib.nullcontext(self._sessions)
        return self._sessions.session(tenant)

    async def _adopt_setting(self, session: EkbSession) -> None:
        """From now on fail calls of this run with an unknown outcome, if the session does not repeat them."""
        if not session.config.repeat_unknown and not self._hold_unknown:
            await self._store.hold_unknown(self._recorder.run_id)
            self._hold_unknown = True

    def _first_reason(self) -> BaseException | None:
        """Return the error that first ended a tenant's calls early, with a note that names the other tenants."""
        if not self._ended_early:
            return None
        (tenant, reason), *others = self._ended_early.items()
        if tenant:
            reason.add_note(f"This was tenant {tenant!r}.")
        if others:
            names = ", ".join(repr(name) for name, _ in others[: self._limits.tenants_named])
            more = ", …" if len(others) > self._limits.tenants_named else ""
            reason.add_note(f"Calls of {len(others):,} other tenants ended early as well: {names}{more}.")
        return reason


def _first(failure: BaseException) -> BaseException:
    """Return the first error in a group of errors, nested groups included."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
