"""What the pauses of persons mean for a run that is at work.

Claims leave out what is paused. A run also gives back what it has claimed and not sent, and looks again for calls when
a pause has ended. The pauses are looked at about once a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.tenant_worker import TenantWorker
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.changes.pausing import pauses_of, release_strays
from ekb_async.backlog.store.values.reports import Pause
from ekb_async.errors import EkbError
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine


class PauseWatch:
    """Applies the pauses of a backlog to the workers of a run; `pauses` are those that were seen last."""

    def __init__(
        self,
        store: CallStore,
        workers: Mapping[str, TenantWorker | None],
        timing: BacklogTiming,
        on_change: Callable[[], None],
    ) -> None:
        self.pauses: Collection[Pause] = ()
        self._store = store
        self._workers = workers
        self._timing = timing
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()

    async def watch(self, run_id: Callable[[], int]) -> None:
        """Look at the pauses again and again, until this is cancelled."""
        while True:
            before = self._loop.time()
            try:
                await self._look(run_id())
            except EkbError as error:
                # Whatever else the run does with the backlog fails as well, and says so.
                log_lines.backlog.debug("pauses could not be looked at: %s", OneLine(error))
            took = self._loop.time() - before
            await asyncio.sleep(max(self._timing.other_runs, took / LIMITS.polling_share))

    async def _look(self, run_id: int) -> None:
        before, self.pauses = self.pauses, await pauses_of(self._store)
        if self.pauses:
            claimed = await self._store.claimed_and_held(run_id)
            for worker in self._workers.values():
                if worker is not None and claimed:
                    worker.give_back(claimed)
        if before == self.pauses:
            return
        for ended in [each for each in before if each not in self.pauses]:
            await release_strays(self._store, ended)
        for worker in self._workers.values():
            if worker is not None:
                worker.look_again()
        self._on_change()
