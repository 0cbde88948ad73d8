"""The consumer of a queue's slots.

One task claims them. It waits until a job at the front has all it needs (a valid file URL, a token), fewer than
`max_running` calls are under way, and the previous call has been sent, since the next slot is counted from that moment.
If a slot is open and everything is ready when a job is submitted, as it is for single calls, the job starts at once
without the task.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any, Protocol

from ekb_async.aio.tasks import start_task
from ekb_async.client.attempt import Api
from ekb_async.errors import AuthError, EkbError, SessionClosedError
from ekb_async.files.urls import FileUrls, WaitingQueue
from ekb_async.pacing.rule import Pace
from ekb_async.queue.jobs import Job
from ekb_async.queue.states import CallStates, Effects


class ConsumedQueue(WaitingQueue, Protocol):
    """A call queue, as far as its consumer uses it."""

    loop: asyncio.AbstractEventLoop
    pace: Pace
    call: str

    def perform(self, effects: Effects) -> None: ...


class SlotConsumer:
    """Claims slots for the waiting jobs of a queue."""

    def __init__(self, queue: ConsumedQueue, states: CallStates, api: Api, file_urls: FileUrls) -> None:
        self._queue = queue
        self._states = states
        self._api = api
        self._file_urls = file_urls
        self._task: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        # Whether the task neither has a slot nor is claiming one, so that `start_at_once` may claim one itself.
        self._idle = True

    def start_at_once(self) -> None:
        """Start the first ready job if a slot is open and nothing else is missing."""
        if not (self._idle and self._states.wants_slot) or self._api.tokens.usable() is None:
            return
        if self._has_ready_job() and (slot := self._queue.pace.try_claim()) is not None:
            self._queue.perform(self._states.slot_open(slot, self._ready_url))

    def wake(self) -> None:
        """Look whether a job can start."""
        if not self._states.waiting.front:
            return
        if self._task is None and not self._states.closed:
            # It serves all callers, so it must not inherit the context variables of the first.
            start = contextvars.Context().run
            self._task = start(start_task, self._serve(), self._queue.loop, name=f"ekb queue {self._queue.call}")
            self._task.add_done_callback(self._ended)
        self._awake.set()

    async def close(self) -> None:
        """End the task; the states are closed already, so that it is not started again."""
        if (task := self._task) is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _serve(self) -> None:
        self._idle = False
        while True:
            await self._until_ready()
            try:
                slot = await self._queue.pace.claim()
            except EkbError as error:
                self._queue.perform(self._states.fail_all(error.met_before_sending()))
            else:
                self._queue.perform(self._states.slot_open(slot, self._ready_url))

    async def _until_ready(self) -> None:
        while True:
            self._awake.clear()
            if self._states.waiting.jobs_needing_url:
                self._file_urls.prefetch(self._queue)
            if not (self._states.wants_slot and self._has_ready_job()):
                self._idle = True
                await self._awake.wait()
                self._idle = False
            elif await self._has_token():
                return

    async def _has_token(self) -> bool:
        """Wait for a token; return False, after failing the jobs concerned, if there is none."""
        try:
            await self._api.tokens.get()
        except EkbError as error:
            early = error.met_before_sending()
            if error.for_all or isinstance(error, AuthError):
                self._queue.perform(self._states.fail_all(early))
            else:
                self._queue.perform(self._states.fail_next(early))
            return False
        return True

    def _has_ready_job(self) -> bool:
        # A loop, since this runs for every call, and a generator costs more than looking at one job.
        for job in self._states.waiting.front:  # noqa: SIM110
            if self._ready_url(job) is not None:
                return True
        return False

    def _ready_url(self, job: Job[Any]) -> str | None:
        file = job.order.file
        return "" if file is None else self._file_urls.ready_url(file)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Fail the queued jobs if anything but closing ended the task; the next job starts another."""
        self._task = None
        if not self._states.closed:
            reason = "from outside" if task.cancelled() else f"by {type(task.exception()).__name__}"
            self._queue.perform(self._states.fail_all(SessionClosedError(f"the queue was ended {reason}")))
