"""The queue of one rate-limited call: it performs what `ekb_async.queue.states` decides.

One consumer task waits until a job could start, claims a slot, and only then chooses the job. If a slot is open and
everything is ready when a job is submitted, as it is for single calls, the job starts at once without the consumer.
Each attempt is a task of its own, which ends with an event for the states.

An error that every call of the queue would meet (no permission, wrong keys, a proxy's login) fails all queued jobs.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Sequence
from typing import Any, TypeVar

from ekb_async.aio.tasks import TaskScope, start_task
from ekb_async.client.attempt import Api
from ekb_async.client.hooks import Attempt, report
from ekb_async.config import Priority, SessionConfig
from ekb_async.errors import AuthError, EkbError, QueueFullError, SessionClosedError, ThrottledError
from ekb_async.files.hints import fit_hint
from ekb_async.files.urls import CallFile, FileUrls
from ekb_async.pacing.rule import Pace
from ekb_async.protocol.endpoints import Endpoint
from ekb_async.protocol.retry import Again, jittered
from ekb_async.queue.delays import Delays, queue_timeout
from ekb_async.queue.jobs import Job, JobEnd, JobRetry, Mark, Order, Phase
from ekb_async.queue.limits import LIMITS
from ekb_async.queue.readiness import Readiness
from ekb_async.queue.states import (
    CallStates,
    CancelAttempt,
    Effects,
    Grant,
    Resolve,
    ReturnSlot,
    Start,
    WaitBeforeRetry,
)
from ekb_async.queue.stats import QueueStats
from ekb_async.redaction import log_lines
from ekb_async.redaction.masking import without_frames

T = TypeVar("T")


class SlotLapsed(Exception):  # noqa: N818 - not an error: the call takes another slot
    """Raised when a call was not sent within its slot, since other processes may use later slots by now."""


class CallQueue:
    """The queue of one paced call, with its jobs from their submission to their end."""

    def __init__(
        self,
        endpoint: Endpoint[object],
        rate: float,
        api: Api,
        pace: Pace,
        file_urls: FileUrls,
        config: SessionConfig,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.call = endpoint.name
        self.pace = pace
        self._path = endpoint.path
        self._task_name = f"ekb call {endpoint.path}"
        self._api = api
        self._hooks = api.hooks
        self._file_urls = file_urls
        self._config = config
        self._states = CallStates(rate, config.max_running)
        self._scope = TaskScope()
        self._attempts: dict[Grant, asyncio.Task[None]] = {}
        self._retry_timers: dict[Job[Any], asyncio.TimerHandle] = {}
        self._room = asyncio.Event()
        self._delays = Delays(api, file_urls, pace, self.loop)
        self._readiness = Readiness(self._states, api, file_urls)
        self._consumer: asyncio.Task[None] | None = None
        self.mean_duration = 0.0
        """Moving average of the seconds that calls took, weighted to the latest; 0 before the first."""
        file_urls.attach(self)

    def __repr__(self) -> str:
        waiting, running = len(self._states.waiting), len(self._states.running)
        return f"<CallQueue {self._path}: {waiting} queued, {running} running, {self.pace!r}>"

    # For callers

    def submit(
        self,
        order: Order[T],
        priority: Priority,
        max_wait: float | None = None,
        mark: Mark | None = None,
        on_end: JobEnd | None = None,
        on_retry: JobRetry | None = None,
    ) -> Job[T]:
        """Queue a job, and start it if it need not wait.

        `max_wait` is the number of seconds in which it must be sent, None for no limit. `mark` is awaited before each
        attempt is sent, `on_end` called with the ended job, `on_retry` with a job that is to be tried again, and the
        error; it may cancel the job. Raises `QueueTimeoutError` if `max_wait` cannot be kept by present estimates,
        `QueueFullError`, or `SessionClosedError`.
        """
        states, waiting = self._states, self._states.waiting
        if states.closed:
            raise SessionClosedError("the session is closed")
        queued = len(waiting)
        if not (queued or states.running or states.in_backoff):
            self._delays.error = None
        if queued >= self._config.queue_size:
            raise QueueFullError(f"the queue is full: it holds {queued:,}, as many as queue_size allows")
        if max_wait is not None:
            ahead = waiting.ahead_of_new(priority)
            if (eta := self._eta(ahead)) > max_wait:
                raise queue_timeout(self._path, max_wait, ahead, eta, self._delays.current_error())
        job: Job[T] = Job(self, order, waiting.next_key(priority), mark, on_end, on_retry)
        states.submit(job)
        if self._hooks.queued:
            report(self._hooks.queued, job)
        if max_wait is not None and not job.ended:
            job.timer = self.loop.call_later(max_wait, self._expire, job, max_wait)
        self._start_at_once(job)
        if job.phase is Phase.WAITING:
            self.wake()
        return job

    async def room(self) -> None:
        """Wait until the queue has room or is closed."""
        while len(self._states.waiting) >= self._config.queue_size and not self._states.closed:
            self._room.clear()
            await self._room.wait()

    def stats(self) -> QueueStats:
        states = self._states
        return states.counts.snapshot(queued=len(states.waiting) + len(states.in_backoff), running=len(states.running))

    async def close(self, timeout: float) -> None:
        """Fail queued jobs with `SessionClosedError`; cancel running ones that do not end within `timeout` seconds."""
        self._states.closed = True
        if (consumer := self._consumer) is not None:
            consumer.cancel()
            await asyncio.wait([consumer])
        effects = self._states.close()
        if dropped := sum(isinstance(effect, Resolve) for effect in effects):
            log_lines.queue.warning("%s: %d queued jobs were dropped by closing", self._path, dropped)
        if unanswered := self._states.unanswered:
            log_lines.queue.warning("%s: %d of them had been sent; they may be billed", self._path, unanswered)
            self._states.unanswered = 0
        self._perform(effects)
        await self._scope.finish(timeout)
        if self._states.broken_off:
            log_lines.queue.warning(
                "%s: %d running calls were broken off by closing after %g s; they may be billed",
                *(self._path, self._states.broken_off, timeout),
            )
            self._states.broken_off = 0

    # For jobs

    def position(self, job: Job[Any]) -> int:
        return self._states.waiting.position(job)

    def eta(self, job: Job[Any]) -> float:
        return self._eta(self.position(job))

    def cancel(self, job: Job[Any]) -> None:
        self._perform(self._states.cancel(job))

    # For preparing files: `WaitingQueue`

    @property
    def next_files(self) -> Sequence[CallFile]:
        return [job.order.file for job in self._states.waiting.front if job.order.file is not None]

    @property
    def interval(self) -> float:
        return self.pace.interval

    def wake(self) -> None:
        # Each look of the consumer costs as much as a part of a call, and most events leave it nothing to do.
        if not (self._states.wants_slot or self._states.waiting.jobs_needing_url):
            return
        if self._consumer is None and not self._states.closed:
            # It serves all callers, so it must not inherit the context variables of the first.
            start = contextvars.Context().run
            self._consumer = start(start_task, self._serve(), self.loop, name=f"ekb queue {self._path}")
            self._consumer.add_done_callback(self._consumer_ended)
        self._readiness.changed.set()

    def fail_file(self, file: CallFile, error: EkbError) -> None:
        if error.for_all or (isinstance(error, AuthError) and self._api.tokens.refused):
            self._perform(self._states.fail_all(error))
        else:
            front = self._states.waiting.front
            self._perform(self._states.fail([job for job in front if job.order.file is file], error))

    def fail_uploads(self, error: EkbError) -> None:
        waiting = self._states.waiting
        jobs = [job for job in waiting if job.order.file and job.order.file.needs_upload]
        self._perform(self._states.fail(jobs, error))

    # Claiming slots

    def _start_at_once(self, job: Job[Any]) -> None:
        """Start a new job if it is the first that is ready, a slot is open and the consumer is not about to do so."""
        if self._consumer is not None and not self._readiness.awaited:
            return
        # Any other job must not get the context variables of this one's caller.
        if (ready := self._readiness.now()) is None or ready[0] is not job:
            return
        if (slot := self.pace.try_claim()) is not None:
            self._perform(self._states.slot_open(slot, ready))

    async def _serve(self) -> None:
        """Claim slots, and give each to the job that is first in line by then."""
        while True:
            try:
                await self._readiness.wait(self)
            except EkbError as error:
                concerns_all = error.for_all or isinstance(error, AuthError)
                fail = self._states.fail_all if concerns_all else self._states.fail_next
                self._perform(fail(error.met_before_sending()))
                continue
            try:
                slot = await self.pace.claim()
            except EkbError as error:
                self._perform(self._states.fail_all(error.met_before_sending()))
            else:
                self._perform(self._states.slot_open(slot, self._readiness.first_ready()))

    def _consumer_ended(self, consumer: asyncio.Task[None]) -> None:
        """Fail the queued jobs if anything but closing ended the consumer; the next job starts another."""
        self._consumer = None
        if not self._states.closed:
            text = "the queue was ended from outside"
            if not consumer.cancelled():
                text = f"the queue was ended by {type(consumer.exception()).__name__}"
            self._perform(self._states.fail_all(SessionClosedError(text)))

    # Performing effects

    def _perform(self, effects: Effects) -> None:
        """Do what the states ask for, and find out whether a job can start."""
        for effect in effects:
            match effect:
                case Start():
                    self._start(effect.grant)
                case Resolve():
                    self._resolve(effect.job)
                case ReturnSlot():
                    self.pace.give_back(effect.slot)
                case CancelAttempt():
                    self._attempts[effect.grant].cancel()
                case WaitBeforeRetry():
                    delay = jittered(effect.seconds)
                    self._retry_timers[effect.job] = self.loop.call_later(delay, self._retry, effect.job)
        self.wake()

    def _start(self, grant: Grant) -> None:
        self._delays.launched = self.loop.time()
        self._room.set()
        ended = functools.partial(self._attempt_ended, grant)
        self._attempts[grant] = self._scope.start(self._attempt(grant), name=self._task_name, on_end=ended)

    def _resolve(self, job: Job[Any]) -> None:
        self._room.set()
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if self._retry_timers and (timer := self._retry_timers.pop(job, None)) is not None:
            timer.cancel()
        if job.order.needs_url:
            self._file_urls.drop(job.order.file)
        if self._hooks.ended:
            report(self._hooks.ended, job)
        job.resolve()

    def _retry(self, job: Job[Any]) -> None:
        del self._retry_timers[job]
        self._perform(self._states.backoff_over(job))

    # An attempt

    async def _attempt(self, grant: Grant) -> None:
        job, order = grant.job, grant.job.order
        request = order.request(grant.url)
        attempt = Attempt(request, job.history, job)
        try:
            token = self._api.tokens.usable() or await self._api.token(request)
            if job.mark is not None:
                await job.mark(job.maybe_billed + job.unconfirmed + 1)
            # Checked here as well as when it leaves, so that no connection is used for an expired slot.
            if self.pace.expired(grant.slot):
                self._take_another_slot(job, "preparing")
            if (seconds_until := self.pace.seconds_until(grant.slot)) > 0:
                await asyncio.sleep(seconds_until)
            result = await self._api.send(attempt, token, order.timeout, functools.partial(self._left, grant, attempt))
        except SlotLapsed:
            self._perform(self._states.lapsed(grant))
        except EkbError as error:
            self._failed(grant, attempt, error)
        except BaseException as error:
            without_frames(error)
            raise
        else:
            self._succeeded(grant, result)

    def _take_another_slot(self, job: Job[Any], what: str) -> None:
        """Raise `SlotLapsed`, since the slot has passed; at most once per job in preparing and once in sending.

        If writing the mark or opening a connection always takes longer than an interval, the call would otherwise never
        be sent.
        """
        if what not in job.lapses:
            job.lapses += (what,)
            raise SlotLapsed

    def _left(self, grant: Grant, attempt: Attempt[Any]) -> None:
        job = grant.job
        if grant.is_sent and not job.ended:
            return
        if not job.ended:
            if self.pace.expired(grant.slot):
                self._take_another_slot(job, "sending")
            report(self._hooks.sent, attempt)
        if job.ended:
            # The job has just been cancelled, perhaps by a hook, or timed out: the request must not be sent.
            raise asyncio.CancelledError
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if self._delays.error is not None:
            self._delays.note_sent()
        self.pace.mark_started(grant.slot)
        self._perform(self._states.left(grant, self.loop.time()))

    def _succeeded(self, grant: Grant, result: object) -> None:
        if self._delays.error is not None:
            self._delays.note_ended(None, sent=grant.is_sent)
        seconds = self.loop.time() - grant.sent_at if grant.is_sent else None
        self.pace.accepted(grant.slot, seconds)
        if seconds is not None:
            share = LIMITS.latest_duration_share if self.mean_duration else 1.0
            self.mean_duration += (seconds - self.mean_duration) * share
        self._perform(self._states.succeeded(grant, result))

    def _failed(self, grant: Grant, attempt: Attempt[Any], error: EkbError) -> None:
        step = attempt.step or self._api.decide(attempt, error)
        self._delays.note_ended(error, sent=grant.is_sent)
        if isinstance(error, ThrottledError):
            self.pace.refused(grant.slot, error.retry_after)
        job = grant.job
        file = job.order and job.order.file
        if file is not None:
            fit_hint(error, file)
            if isinstance(step, Again) and step.fresh_url:
                self._file_urls.forget_url(file)
        self._perform(self._states.failed(grant, error, step))
        if isinstance(step, Again) and step.counts and not job.ended and job.on_retry is not None:
            report((functools.partial(job.on_retry, job),), error)

    def _attempt_ended(self, grant: Grant, task: asyncio.Task[None]) -> None:
        del self._attempts[grant]
        if self._states.running.get(grant.job) is grant:
            # It was cancelled, maybe before its first step, or failed with an error that no rule covers.
            error = None if task.cancelled() else task.exception()
            self._delays.note_ended(error or asyncio.CancelledError(), sent=grant.is_sent)
            self._perform(self._states.broken(grant, error if isinstance(error, Exception) else None))

    # Waiting too long

    def _expire(self, job: Job[Any], max_wait: float) -> None:
        unsent = self._states.unsent
        latest = self._delays.launched + LIMITS.sending_seconds
        if unsent is not None and unsent.job is job and (left := latest - self.loop.time()) > 0:
            # It got its slot in time, and opening a connection takes a moment.
            job.timer = self.loop.call_later(left, self._expire, job, max_wait)
            return
        # A position is exact only in a short queue: counting for each job of a long one takes quadratic time.
        waiting = self._states.waiting
        is_short = len(waiting) <= LIMITS.counted_jobs
        position = waiting.position(job) if is_short else waiting.ahead_of_new(job.key[0]) - 1
        grants = () if self._states.may_run_more else self._states.running.values()
        cause = self._delays.current_error() or self._delays.wait_reason(
            job.order.file, has_unsent=unsent is not None, sent=[grant.sent_at for grant in grants]
        )
        error = queue_timeout(self._path, max_wait, position, self._eta(position), cause)
        self._perform(self._states.fail([job], error))

    def _eta(self, ahead: int) -> float:
        per_job = max(self.pace.interval, self.mean_duration / self._config.max_running)
        return self.pace.wait() + ahead * per_job
