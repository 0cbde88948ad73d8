"""Shows the progress of a run while it goes on.

The stored counts are read again when something was written, and less often the longer that takes. While the store does
not answer, the progress has the last counts and says why.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from ekb_async.aio.tasks import cancel_and_wait
from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.run.calls.staff import StaffIds
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.recorder import Recorder
from ekb_async.backlog.run.shown.progress import Progress, ended_in, measure
from ekb_async.backlog.run.shown.said import Said
from ekb_async.backlog.run.shown.tenants import AutoPause, GivenUp
from ekb_async.backlog.run.shown.waits import Wait, later_waits, summed
from ekb_async.backlog.run.tenant_worker import TenantWorker
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.values.calls import StateCount, WaitingCount, counts_of
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine

Load = tuple[list[StateCount], list[WaitingCount]]


class Reporter:
    """Calls `progress` with the progress of a run; `workers` are those at work at present."""

    def __init__(
        self,
        store: CallStore,
        recorder: Recorder,
        workers: Mapping[str, TenantWorker | None],
        staff: StaffIds,
        timing: BacklogTiming,
        progress: Callable[[Progress], None] | None,
        *,
        has_directory: bool,
    ) -> None:
        self.waiting_for = ""
        """Why the run waits for another one, "" if it does not."""
        self.given_up: tuple[GivenUp, ...] = ()
        """The tenants whose calls are not made any more."""
        self.rates: dict[str, Mapping[str, float]] = {}
        """The starts per second that each tenant's session allows, by kind of billed call."""
        self._store = store
        self._recorder = recorder
        self._workers = workers
        self._staff = staff
        self._timing = timing
        self._progress = progress
        self._has_directory = has_directory
        self._ended_before = 0
        self._last: Load = ([], [])
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._started_at = datetime.now(UTC)

    async def begin(self) -> None:
        """Read the counts at the start of the run."""
        self._last = await self.read()
        self._ended_before = ended_in(counts_of(self._last[0]))

    async def read(self) -> Load:
        """Return the stored counts."""
        return await self._store.load(), await self._store.waiting()

    async def report(self, stop: Callable[[BaseException], None]) -> None:
        """Call `progress` until this is cancelled; call `stop` with its error if it fails."""
        while self._progress:
            before = self._loop.time()
            self._recorder.news.clear()
            try:
                self._last = await self._load()
                self._progress(self._measure(self._last))
            except Exception as error:  # noqa: BLE001 - calls in flight are billed, so the run stops in order
                self._progress = None
                stop(error)
                return
            await self._wait_for_news(self._loop.time() - before)

    async def say(self) -> None:
        """Write into the backlog what the run may do and waits for, until this is cancelled, for other programs."""
        before = ""
        while True:
            # Short runs need not say anything.
            await asyncio.sleep(self._timing.say)
            try:
                progress = self._measure(self._last)
                waits = summed(self._own_waits(progress))
                paused = tuple(self._pauses())
                said = Said(allowed=self._allowed(), waits=waits, paused=paused, given_up=self.given_up).encode()
                if said != before:
                    await self._store.say(self._recorder.run_id, said)
                    before = said
            except Exception as error:  # noqa: BLE001 - it is not worth ending a run, and others report what is wrong
                log_lines.backlog.debug("what the run waits for could not be written: %s", OneLine(error))

    def conclude(self, load: Load) -> None:
        """Call `progress` for the last time."""
        if self._progress:
            self._progress(self._measure(load))

    async def _wait_for_news(self, cost: float) -> None:
        """Wait until something may have changed, and as long as reading the counts is worth, which took `cost` s."""
        trouble, in_flight = self._store.trouble, self._in_flight()
        await asyncio.sleep(max(self._timing.report, cost / LIMITS.polling_share))
        while not self._recorder.news.is_set() and (self._store.trouble, self._in_flight()) == (trouble, in_flight):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.report):
                    await self._recorder.news.wait()

    async def _load(self) -> Load:
        """Return the stored counts. While the store does not answer, `progress` gets the last ones and the trouble."""
        loading = asyncio.ensure_future(self.read())
        reported = ""
        try:
            while not (await asyncio.wait([loading], timeout=self._timing.report))[0]:
                if self._progress and self._store.trouble != reported:
                    reported = self._store.trouble
                    self._progress(self._measure(self._last))
            return loading.result()
        finally:
            await cancel_and_wait(loading)

    def _measure(self, load: Load) -> Progress:
        progress = measure(
            *load,
            ended_before=self._ended_before,
            seconds=self._loop.time() - self._start,
            started_at=self._started_at,
            allowed=self._allowed(),
            in_flight=self._in_flight(),
            trouble=self._trouble() or self._store.trouble or self.waiting_for,
        )
        tally = self._recorder.tally
        return msgspec.structs.replace(
            progress,
            waits=summed(self._waits(progress, load)),
            causes=tally.causes(),
            verified=tally.verified(),
            auto_pauses=tuple(self._pauses()),
            given_up=self.given_up,
        )

    def _pauses(self) -> Iterator[AutoPause]:
        for worker in self._workers.values():
            if worker is not None:
                yield from worker.pauses()

    def _allowed(self) -> dict[str, float]:
        rates = [self.rates[tenant] for tenant in self._workers if tenant in self.rates] or [*self.rates.values()]
        return {kind: sum(each[kind] for each in rates) for kind in PAID if rates}

    def _in_flight(self) -> Counter[str]:
        return sum((worker.in_flight() for worker in self._workers.values() if worker is not None), Counter())

    def _waits(self, progress: Progress, load: Load) -> Iterator[Wait]:
        if self._store.trouble:
            yield Wait(reason="storage", text=self._store.trouble)
        yield from self._own_waits(progress)
        yield from later_waits(load[1])

    def _own_waits(self, progress: Progress) -> Iterator[Wait]:
        """Yield what only the run itself knows."""
        if self.waiting_for:
            yield Wait(reason="other_run")
        for worker in self._workers.values():
            if worker is not None:
                yield from worker.waits()
        for staff_id, rows in self._staff.waiting.most_common(LIMITS.refused_people_shown):
            yield Wait(reason="refused_person", rows=rows, text=staff_id)
        downloads = progress.kinds.get("download")
        if downloads is not None and downloads.left and not self._has_directory:
            yield Wait(reason="directory", calls=downloads.left)

    def _trouble(self) -> str:
        troubled = {tenant: worker.trouble for tenant, worker in self._workers.items() if worker and worker.trouble}
        if not troubled:
            return ""
        tenant, text = next(iter(troubled.items()))
        if not tenant:
            return text
        if len(troubled) == 1:
            return f"tenant {tenant}: {text}"
        return f"tenant {tenant}: {text} (and {len(troubled) - 1:,} more tenants)"
