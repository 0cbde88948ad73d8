"""The calls of one tenant, made with its session.

Each kind of call has a lane of its own that claims pending calls in chunks and hands them to the session: paid ones as
queued jobs, enough that the session always has the next files to make ready, ID look-ups in full batches side by side.

What an outage may have caused (see `outage`) is no failure yet: the row is left for later, and fails when it does so
again while others go well.

Workers end early on an error that every further call would meet, and when they are stopped. It is the same each time:
nothing more is claimed, queued jobs are taken back, calls under way have `SessionConfig.close_timeout` to end and are
recorded; then they are broken off. What was sent and broken off may have been billed and is counted; what has no
ending is pending again.
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

_DOWNLOADS_AHEAD = 200
_LATER = "later"
_CHANCES = 3


class TenantWorker:
    """Works off what is pending of one tenant; `work()` is called once."""

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
        """What has ended it early."""
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
        self._left_for_later: dict[str, list[CallResult]] = {kind: [] for kind in KINDS}
        self._chances: dict[int, tuple[int, int]] = {}
        batch = session.config.batch_size
        lookups = (self._look_up, 2 * batch * session.config.batch_in_flight, batch)
        # As many as can be in flight, so that whoever claims few ahead does not wait for claims.
        pay = (self._pay, max(store.claims_ahead, session.config.max_running), 1)
        # How calls of each kind are made, how many are claimed ahead, and how many are made together.
        self._ways: dict[str, tuple[Callable[..., Coroutine[Any, Any, None]], int, int]] = {
            **dict.fromkeys(PAID, pay),
            **dict.fromkeys(LOOKUPS, lookups),
            "download": (self._download, _DOWNLOADS_AHEAD, 1),
        }
        self._jobs: dict[Job[Any], Call] = {}
        self._doors = {kind: asyncio.Lock() for kind in PAID}
        self._tasks: list[asyncio.Task[None]] = []
        self._patience: asyncio.TimerHandle | None = None

    @property
    def trouble(self) -> str:
        """Why nothing goes on, "" while it does."""
        return next((outage.text for outage in self._outages.values() if outage.text), "")

    async def work(self, kinds: Sequence[str]) -> None:
        """Returns when nothing of the kinds is pending, what was added meanwhile included, or `reason` has ended it."""
        try:
            if self._downloads is not None:
                await self._downloads.prepare()
            while self.reason is None and await self._store.has_pending(self._tenant, kinds):
                async with asyncio.TaskGroup() as lanes:
                    self._tasks = [lanes.create_task(self._lane(kind)) for kind in kinds]
                # What is not recorded yet would look like another run's.
                with contextlib.suppress(ConfigError):
                    await self._recorder.flush()
        finally:
            if self._patience is not None:
                self._patience.cancel()

    def stop(self, reason: BaseException) -> None:
        """Ends it for a reason that holds for every further call."""
        if self.reason is not None:
            return
        self.reason = reason
        for kind, outage in self._outages.items():
            outage.stop()
            self._take_back(kind)
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(self._session.config.close_timeout, self._break_off)

    def _take_back(self, kind: str, staff_id: str | None = None) -> None:
        """Takes back queued jobs of a kind, those of one staff ID or all."""
        calls = [(job, call) for job, call in self._jobs.items() if call.kind == kind and job.state == "queued"]
        for job, call in calls:
            if staff_id is None or call.staff_id == staff_id:
                job.cancel()

    def _break_off(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _lane(self, kind: str) -> None:
        start, limit, together = self._ways[kind]
        outage = self._outages[kind]
        handed = 0
        room = asyncio.Event()

        def leave(count: int, _: asyncio.Task[None]) -> None:
            nonlocal handed
            handed -= count
            room.set()

        try:
            async with asyncio.TaskGroup() as calls:
                while self.reason is None:
                    await outage.wait()
                    free = (1 if outage.is_on else limit) - handed
                    # Rows that no server can take may stand in front; those from the end tell whether others can go.
                    claimed = await self._claim(kind, free, latest=outage.is_on)
                    for part in (claimed[i : i + together] for i in range(0, len(claimed), together)):
                        task = calls.create_task(self._run_one(start(*part)))
                        task.add_done_callback(functools.partial(leave, len(part)))
                    handed += len(claimed)
                    if not handed and not await self._bring_back(kind):
                        return
                    # More is claimed when a good part is free again; a last look comes when all have ended.
                    enough = limit * 3 // 4 if len(claimed) == free and not outage.is_on else 0
                    while handed > enough and self.reason is None:
                        room.clear()
                        await room.wait()
        finally:
            self._give_back(kind)

    async def _run_one(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, other calls under way have been paid for
            self.stop(error)

    async def _claim(self, kind: str, limit: int, *, latest: bool) -> list[Call]:
        if limit <= 0:
            return []
        try:
            return await self._store.claim(self._recorder.run_id, self._tenant, kind, limit, latest=latest)
        except EkbError as error:
            self.stop(error)
            return []

    async def _bring_back(self, kind: str) -> bool:
        """Makes pending what was left for later; whether there was anything."""
        if not self._give_back(kind):
            return False
        with contextlib.suppress(ConfigError):
            await self._recorder.flush()
        return True

    def _give_back(self, kind: str) -> bool:
        endings = self._left_for_later[kind]
        for ending in endings:
            self._recorder.end(ending)
        self._left_for_later[kind] = []
        return bool(endings)

    # Calls

    async def _pay(self, call: Call) -> None:
        if call.kind != "verify":
            await self._make(call)
            return
        async with self._staff.admission(self._tenant, call.staff_id, call.row_count) as admitted:
            # Otherwise it stays claimed until the run ends, so that it is not looked at again and again.
            if admitted:
                await self._make(call)

    async def _make(self, call: Call) -> None:
        try:
            job = await self._submit(call, await self._call_files.find(call))
        except EkbError as error:
            self._end(call, self._ending(call, error))
            return
        if job is None:
            return
        job.before_sending = functools.partial(self._recorder.mark, call.id)
        self._jobs[job] = call
        try:
            with contextlib.suppress(EkbError):
                await job
        finally:
            del self._jobs[job]
            self._settle(call, job)

    async def _submit(self, call: Call, file: InvoiceFile) -> Job[Any] | None:
        """The queued job, None if the run has been stopped."""
        # One call of a kind at a time asks whether a full queue has room, and the others stay in order behind it.
        async with self._doors[call.kind]:
            while self.reason is None:
                try:
                    if call.kind == "ocr":
                        return self._session.submit_ocr(file, priority=Priority.BULK)
                    return self._session.submit_verify(
                        file, staff_id=call.staff_id, file_name=call.file_name or None, priority=Priority.BULK
                    )
                except QueueFullError:
                    await asyncio.sleep(self._timing.queue_full)
        return None

    def _settle(self, call: Call, job: Job[Any]) -> None:
        """Records how a job stands; one that has not ended is taken back."""
        job.cancel()
        if isinstance(job.error, TakenOverError):
            return
        if job.state == "done":
            self._note_staff(call, None)
            self._note(call.kind, None)
            ending = CallResult(call.id, "done", answer=job.result)
        elif isinstance(job.error, EkbError):
            self._note_staff(call, job.error)
            ending = self._ending(call, job.error)
            if not (ending.state == "failed" and call.id in self._chances):
                # What is now known to be the row's own fault says nothing about the vendor.
                self._note(call.kind, job.error)
        else:
            ending = CallResult(call.id, "pending")
        if ending.state == "pending" and job.unconfirmed:
            self._recorder.broken_off += 1
            if self._hold_unknown:
                ending = CallResult(call.id, "failed", **OUTCOME_UNKNOWN)
        self._end(call, ending._replace(tries=job.attempts, maybe_billed=job.maybe_billed + job.unconfirmed))

    def _note_staff(self, call: Call, error: EkbError | None) -> None:
        if call.kind != "verify":
            return
        self._staff.note(self._tenant, call.staff_id, error)
        if error is not None and self._staff.refusal(self._tenant, call.staff_id) is not None:
            self._take_back(call.kind, call.staff_id)

    async def _look_up(self, *calls: Call) -> None:
        kind: Literal["url", "detail"] = "url" if calls[0].kind == "url" else "detail"
        try:
            found: dict[str, Any] = {**await self._session.look_up(kind, [call.invoice_id for call in calls])}
        except EkbError as error:
            found = dict.fromkeys((call.invoice_id for call in calls), error)
        # All were asked for together, so that one request that failed is one failure.
        answers = list(found.values())
        failed = next((answer for answer in answers if isinstance(answer, EkbError)), None)
        self._note(kind, failed if all(isinstance(answer, EkbError) for answer in answers) else None)
        for call in calls:
            self._settle_free(call, found[call.invoice_id])

    async def _download(self, call: Call) -> None:
        assert self._downloads is not None  # noqa: S101 - its lane is not opened otherwise
        try:
            answer: Path | EkbError = await self._downloads.fetch(call.invoice_id)
        except EkbError as error:
            answer = error
        self._note(call.kind, answer if isinstance(answer, EkbError) else None)
        self._settle_free(call, answer)

    def _settle_free(self, call: Call, answer: Answer | EkbError) -> None:
        if isinstance(answer, EkbError):
            tries = answer.attempts or int(isinstance(answer, ApiError) and not answer.preliminary)
            self._end(call, self._ending(call, answer)._replace(tries=tries))
        else:
            self._end(call, CallResult(call.id, "done", tries=1, answer=answer))

    # What errors mean

    def _note(self, kind: str, error: EkbError | None) -> None:
        """Counts how a request went, None if well; it may show an outage."""
        outage = self._outages[kind]
        fault = None if error is None else fault_of(error)
        if error is None or fault not in {Fault.UNSENT, Fault.SERVER}:
            if error is None or isinstance(error, ApiError):
                self._reached = True
                outage.end()
            return
        self._reached |= fault is Fault.SERVER or isinstance(error, ApiError) or kind == "download"
        if not self._reached:
            # A vendor that was never reached is a wrong address.
            self.stop(error)
        elif outage.note(error):
            self._recorder.news.set()
            if outage.is_hopeless:
                self.stop(error)
            else:
                self._take_back(kind)

    def _ending(self, call: Call, error: EkbError) -> CallResult:
        """How a call stands that failed; it stops the run if every further call would fail as well."""
        fault = fault_of(error)
        if fault is Fault.EVERY_CALL:
            self.stop(error)
        if fault in {Fault.EVERY_CALL, Fault.UNSENT}:
            return CallResult(call.id, "pending")
        ending = failure(call, error)
        return ending._replace(state=_LATER) if self._has_another_chance(call, error) else ending

    def _has_another_chance(self, call: Call, error: EkbError) -> bool:
        """Whether the vendor may have failed and not the row; a billed call without an answer is not made again."""
        if fault_of(error) is not Fault.SERVER or isinstance(error, OutcomeUnknownError):
            return False
        if call.kind in PAID and answer_lost(error):
            return False
        answers = self._outages[call.kind].answers
        times, answers_then = self._chances.get(call.id, (0, answers))
        self._chances[call.id] = (times + 1, answers)
        return times == 0 or (times < _CHANCES and answers == answers_then)

    def _end(self, call: Call, ending: CallResult) -> None:
        if ending.state == _LATER:
            back = CallResult(call.id, "pending", tries=ending.tries, maybe_billed=ending.maybe_billed)
            self._left_for_later[call.kind].append(back)
        else:
            self._recorder.end(ending)
