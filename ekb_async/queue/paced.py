"""The queue of one rate-limited call.

One consumer task serves the queue. It waits until a job at the front has all it needs (a valid file URL, a token),
fewer than `max_running` calls are under way, and the previous call has been sent, since the next slot is counted from
that moment. Then it claims a slot, and only then chooses the job: a job that was cancelled or overtaken meanwhile costs
no slot, and a job whose file is still being uploaded lets others go first. If a slot is open and everything is ready
when a job is submitted, as it is for single calls, the job starts at once without the consumer.

A job gets a task with its first slot. For every further attempt it is queued again under its first key, so a job that
was refused or failed is ahead of all later jobs of its priority.

An error that every call of the queue would meet (no permission, wrong keys, a proxy's login) fails all queued jobs at
once. One call rejected with a fresh token may be an accident; three in a row are not.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

import msgspec

from ekb_async.aio.tasks import TaskScope, start_task
from ekb_async.client.attempt import Api, Attempts, GrantExpired
from ekb_async.config import Priority, SessionConfig
from ekb_async.errors import (
    AuthError,
    EkbError,
    PermissionDeniedError,
    ProviderError,
    QueueFullError,
    RecognitionError,
    SessionClosedError,
    ThrottledError,
)
from ekb_async.files.urls import CallFile, FileUrls
from ekb_async.pacing.rule import Pace, Slot
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.retry import answer_lost
from ekb_async.queue.delays import Delays, queue_timeout
from ekb_async.queue.jobs import Job, JobQueue, Mark
from ekb_async.queue.limits import LIMITS
from ekb_async.queue.stats import QueueCounts, QueueStats
from ekb_async.redaction import log_lines
from ekb_async.redaction.masking import HiddenRepr

T = TypeVar("T")


class Order(Generic[T]):
    """What a job requests: its file, if the call takes one, and the function that makes a request from the file's URL.

    `timeout` is that of each attempt, in seconds.
    """

    __slots__ = ("file", "needs_url", "request", "timeout")

    def __init__(self, file: CallFile | None, request: Callable[[str], Request[T]], timeout: float) -> None:
        self.file = file
        self.needs_url = file is not None and file.url is None
        self.request = request
        self.timeout = timeout


class CallQueue:
    """The queue of one paced call, with its jobs from their submission to their end."""

    def __init__(
        self, endpoint: str, rate: float, api: Api, pace: Pace, file_urls: FileUrls, config: SessionConfig
    ) -> None:
        self._endpoint = endpoint
        self._api = api
        self.pace = pace
        self._file_urls = file_urls
        self._config = config
        self.loop = asyncio.get_running_loop()
        self._queue = JobQueue()
        self._running: dict[Job[Any], Grant] = {}
        self._started: set[Job[Any]] = set()
        self._scope = TaskScope()
        self._consumer: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        # Whether the consumer neither has a slot nor is claiming one, so that `submit` may claim one itself.
        self._consumer_idle = True
        self._room = asyncio.Event()
        # The job that has a slot and has not been sent yet.
        self._unsent: Job[Any] | None = None
        self._delays = Delays(api, file_urls, pace, self.loop)
        self._closed = False
        self._cancelled_by_closing = 0
        self._rejected_in_a_row = 0
        self._mean_duration = 0.0
        self._latest_duration_share = LIMITS.latest_duration_share
        self._counts = QueueCounts(rate)
        self.job_type: JobType = Job
        file_urls.attach(self)

    def __repr__(self) -> str:
        return f"<CallQueue {self._endpoint}: {len(self._queue)} queued, {len(self._running)} running, {self.pace!r}>"

    # For callers

    def submit(self, order: Order[T], priority: Priority, max_wait: float | None, mark: Mark | None = None) -> Job[T]:
        """Queue a job, and start it if it need not wait.

        `max_wait` is the number of seconds in which it must be sent, None for no limit. Raises `QueueTimeoutError` if
        that cannot be expected, `QueueFullError`, or `SessionClosedError`.
        """
        if self._closed:
            raise SessionClosedError("the session is closed")
        if not self._started and not self._queue:
            self._delays.error = None
        if len(self._queue) >= self._config.queue_size:
            raise QueueFullError(f"the queue is full: it holds {len(self._queue):,}, as many as queue_size allows")
        if max_wait is not None:
            ahead = self._queue.ahead_of_new(priority)
            eta = self._eta(ahead)
            if eta > max_wait:
                raise queue_timeout(self._endpoint, max_wait, ahead, eta, self._delays.current_error())
        job: Job[T] = self.job_type(self, order, self._queue.next_key(priority), mark)
        self._queue.push(job)
        if max_wait is not None:
            job.timer = self.loop.call_later(max_wait, self._expire, job, max_wait)
        if not self._start_at_once(job):
            self.wake()
        return job

    async def room(self) -> None:
        """Wait until the queue has room or is closed."""
        while len(self._queue) >= self._config.queue_size and not self._closed:
            self._room.clear()
            await self._room.wait()

    def stats(self) -> QueueStats:
        in_backoff = sum(job.state == "queued" and job.next_grant is None for job in tuple(self._started))
        return self._counts.snapshot(queued=len(self._queue) + in_backoff, running=len(self._running))

    @property
    def wait(self) -> float:
        """Estimated seconds until the next slot opens."""
        return self.pace.wait()

    @property
    def mean_duration(self) -> float:
        """Moving average of the seconds that calls took, weighted to the latest; 0 before the first."""
        return self._mean_duration

    async def close(self, timeout: float) -> None:
        """Fail queued jobs with `SessionClosedError`; cancel running ones that do not end within `timeout` seconds."""
        self._closed = True
        self._room.set()
        if (consumer := self._consumer) is not None:
            consumer.cancel()
            await asyncio.wait([consumer])
        dropped = len(self._queue)
        self._fail_queue(SessionClosedError("the session was closed while the job was queued"))
        for job in self._started - self._running.keys():
            if job.next_grant is None:
                dropped += 1
                job.fail(SessionClosedError("the session was closed before the call was repeated"))
                self._end_task(job)
        if dropped:
            log_lines.queue.warning("%s: %d queued jobs were dropped by closing", self._endpoint, dropped)
        await self._scope.finish(timeout)
        if self._cancelled_by_closing:
            log_lines.queue.warning(
                "%s: %d running calls were broken off by closing after %g s; they may be billed",
                *(self._endpoint, self._cancelled_by_closing, timeout),
            )
            self._cancelled_by_closing = 0

    # For jobs

    def position(self, job: Job[Any]) -> int:
        return self._queue.position(job)

    def eta(self, job: Job[Any]) -> float:
        return self._eta(self._queue.position(job))

    def cancel(self, job: Job[Any]) -> None:
        if self._is_queued(job):
            self._dequeue(job)
        if job.order is not None and job.order.file is not None:
            self._file_urls.drop(job.order.file)
        job.withdraw()
        self._end_task(job)

    # For preparing files: `WaitingQueue`

    @property
    def next_files(self) -> Sequence[CallFile]:
        return [job.order.file for job in self._queue.front if job.order.file is not None]

    @property
    def interval(self) -> float:
        return self.pace.interval

    def wake(self) -> None:
        if not self._queue:
            return
        if self._consumer is None and not self._closed:
            # It serves all callers, so it must not inherit the context variables of the first.
            start = contextvars.Context().run
            self._consumer = start(start_task, self._serve(), self.loop, name=f"ekb queue {self._endpoint}")
            self._consumer.add_done_callback(self._consumer_ended)
        self._awake.set()

    def fail_file(self, file: CallFile, error: EkbError) -> None:
        if error.for_all or (isinstance(error, AuthError) and self._api.tokens.refused):
            self._fail_queue(error)
        else:
            self._fail_jobs(error, [job for job in self._queue.front if job.order.file is file])

    def fail_uploads(self, error: EkbError) -> None:
        self._fail_jobs(error, [job for job in self._queue if job.order.file and job.order.file.needs_upload])

    # Granting slots

    def _start_at_once(self, submitted: Job[Any]) -> bool:
        """Start the first ready job if a slot is open and nothing else is missing; return whether it was this one."""
        if not self._consumer_idle or self._unsent is not None:
            return False
        if not self._may_run_more or self._api.tokens.usable() is None:
            return False
        if (chosen := self._choose()) is None or (slot := self.pace.try_claim()) is None:
            return False
        job, url = chosen
        self._launch(job, Grant(slot, url))
        return job is submitted

    async def _serve(self) -> None:
        self._consumer_idle = False
        while True:
            await self._wait_until_ready()
            try:
                slot = await self.pace.claim()
            except EkbError as error:
                self._fail_queue(error.met_before_sending())
                continue
            chosen = self._choose()
            if chosen is None:
                self.pace.give_back(slot)
                continue
            job, url = chosen
            self._launch(job, Grant(slot, url))

    async def _wait_until_ready(self) -> None:
        while True:
            self._awake.clear()
            if self._queue.jobs_needing_url:
                self._file_urls.prefetch(self)
            if self._unsent is not None or not self._may_run_more or self._choose() is None:
                self._consumer_idle = True
                await self._awake.wait()
                self._consumer_idle = False
            elif await self._get_token():
                return

    @property
    def _may_run_more(self) -> bool:
        return len(self._running) < self._config.max_running

    async def _get_token(self) -> bool:
        """Wait for a token; return False, after failing the jobs concerned, if there is none."""
        try:
            await self._api.tokens.get()
        except EkbError as error:
            if error.for_all or isinstance(error, AuthError):
                self._fail_queue(error.met_before_sending())
                return False
            # As many jobs as would have started with a token.
            count = max(1, self._config.max_running - len(self._running))
            self._fail_jobs(error.met_before_sending(), self._queue.front[:count])
        else:
            return True
        return False

    def _choose(self) -> tuple[Job[Any], str] | None:
        """Return the first job whose file is ready, with the file's URL ("" for a job without a file)."""
        for job in self._queue.front:
            file = job.order.file
            url = "" if file is None else self._file_urls.ready_url(file)
            if url is not None:
                return job, url
        return None

    def _launch(self, job: Job[Any], grant: Grant) -> None:
        self._dequeue(job)
        job.set_state("running")
        self._running[job] = grant
        self._unsent = job
        self._delays.launched = self.loop.time()
        if job.next_grant is not None:
            job.next_grant.set_result(grant)
            return
        self._started.add(job)
        attempts = PacedAttempts(self, job, grant)
        job.task = self._scope.start(self._run(job, attempts), name=f"ekb call {self._endpoint}")
        job.task.add_done_callback(functools.partial(self._task_ended, job, attempts))

    def _dequeue(self, job: Job[Any]) -> None:
        self._queue.remove(job)
        self._room.set()

    # A job's attempts

    async def _run(self, job: Job[T], attempts: PacedAttempts[T]) -> None:
        try:
            result = await self._api.run(attempts)
        except EkbError as error:
            self._settle_failure(job, error)
        else:
            self._rejected_in_a_row = 0
            self._counts.succeeded += not job.ended
            job.succeed(result)

    async def wait_for_next_grant(self, job: Job[Any]) -> Grant:
        """Queue a job for its next attempt and wait for the slot."""
        if self._closed:
            raise SessionClosedError("the session was closed before the call was repeated")
        grant: asyncio.Future[Grant] = self.loop.create_future()
        job.next_grant = grant
        self._queue.push(job)
        self.wake()
        try:
            return await grant
        except asyncio.CancelledError as error:
            if grant.done() and not grant.cancelled() and grant.exception() is None:
                # It got its slot and was cancelled before it resumed: the slot has to be returned.
                self.attempt_ended(job, grant.result(), error)
            raise
        finally:
            job.next_grant = None

    def attempt_sent(self, job: Job[Any], grant: Grant) -> None:
        grant.sent = True
        grant.sent_at = self.loop.time()
        if job.timer is not None:
            job.timer.cancel()
            job.timer = None
        if self._delays.error is not None:
            self._delays.note_sent()
        self.pace.mark_started(grant.slot)
        self._counts.note_sent(grant.sent_at)
        if job.unconfirmed:
            log_lines.queue.warning("%s: repeated after a lost answer, may be billed twice", self._endpoint)
        self._counts.maybe_billed += job.unconfirmed
        job.maybe_billed += job.unconfirmed
        job.attempts += 1
        job.unconfirmed = True
        self._clear_unsent(job)

    def attempt_ended(self, job: Job[Any], grant: Grant, error: BaseException | None) -> None:
        self._running.pop(job, None)
        if error is not None or self._delays.error is not None:
            self._delays.note_ended(error, sent=grant.sent)
        if grant.sent and (error is None or (isinstance(error, EkbError) and not answer_lost(error))):
            job.unconfirmed = False
        if not job.ended:
            job.set_state("queued")
        if isinstance(error, ThrottledError):
            self._counts.throttled += 1
            self.pace.refused(grant.slot, error.retry_after)
        elif error is None:
            self.pace.accepted(grant.slot)
            took = self.loop.time() - grant.sent_at
            share = self._latest_duration_share if self._mean_duration else 1.0
            self._mean_duration += (took - self._mean_duration) * share
        elif not grant.sent and not isinstance(error, EkbError):
            self.pace.give_back(grant.slot)
        self._clear_unsent(job)

    def forget_url(self, job: Job[Any]) -> bool:
        file: CallFile | None = job.order.file if job.order is not None else None
        return file is not None and self._file_urls.forget_url(file)

    def _clear_unsent(self, job: Job[Any]) -> None:
        if self._unsent is job:
            self._unsent = None
        self.wake()

    def _settle_failure(self, job: Job[Any], error: EkbError) -> None:
        self._rejected_in_a_row = self._rejected_in_a_row + 1 if isinstance(error, AuthError) else 0
        keys_refused = self._api.tokens.refused or self._rejected_in_a_row >= LIMITS.rejections_in_a_row
        error.for_all |= isinstance(error, PermissionDeniedError) or (isinstance(error, AuthError) and keys_refused)
        self._fail_dequeued(job, error)
        if error.for_all:
            self._rejected_in_a_row = 0
            self._fail_queue(error)

    def _fail_queue(self, error: EkbError) -> None:
        unsent = error.again()
        unsent.for_all = not isinstance(error, SessionClosedError)
        unsent.attempts = 0
        for job in self._queue.drain():
            self._fail_dequeued(job, unsent.again())
        self._room.set()

    def _fail_jobs(self, error: EkbError, jobs: Sequence[Job[Any]]) -> None:
        for job in jobs:
            self._dequeue(job)
            self._fail_dequeued(job, error.again())

    def _fail_dequeued(self, job: Job[Any], error: EkbError) -> None:
        if job.next_grant is not None:
            # The job has a task, which raises the error and then fails the job.
            job.next_grant.set_exception(error)
        else:
            self._fail(job, error)

    def _fail(self, job: Job[Any], error: EkbError) -> None:
        self._counts.failed += not job.ended
        if job.order is not None and job.order.file is not None:
            self._file_urls.drop(job.order.file)
        job.fail(error)

    def _expire(self, job: Job[Any], max_wait: float) -> None:
        if self._unsent is job and (left := self._delays.launched + LIMITS.sending_seconds - self.loop.time()) > 0:
            # It got its slot in time, and opening a connection takes a moment.
            job.timer = self.loop.call_later(left, self._expire, job, max_wait)
            return
        # A position is exact only in a short queue: counting for each job of a long one takes quadratic time.
        is_short = len(self._queue) <= LIMITS.counted_jobs
        position = self._queue.position(job) if is_short else self._queue.ahead_of_new(job.key[0]) - 1
        grants = () if self._may_run_more else self._running.values()
        cause = self._delays.current_error() or self._delays.wait_reason(
            job.order.file, has_unsent=self._unsent is not None, sent=[grant.sent_at for grant in grants]
        )
        error = queue_timeout(self._endpoint, max_wait, position, self._eta(position), cause)
        if self._is_queued(job):
            self._dequeue(job)
            self._fail_dequeued(job, error)
        else:
            # It has a slot and could not be sent, or waits between two attempts.
            self._fail(job, error)
            self._end_task(job)

    @staticmethod
    def _is_queued(job: Job[Any]) -> bool:
        """Return whether a job that has not ended is in the queue, and neither running nor between two attempts."""
        return job.task is None or (job.next_grant is not None and not job.next_grant.done())

    def _eta(self, ahead: int) -> float:
        per_job = max(self.pace.interval, self._mean_duration / self._config.max_running)
        return self.pace.wait() + ahead * per_job

    def _end_task(self, job: Job[Any]) -> None:
        if job.task is not None:
            job.task.cancel()

    def _task_ended(self, job: Job[Any], attempts: PacedAttempts[Any], task: asyncio.Task[None]) -> None:
        self._started.discard(job)
        # A task that is cancelled before its first step never runs, so its slot is returned here.
        attempts.on_ended(asyncio.CancelledError())
        error = None if task.cancelled() else task.exception()
        if job.ended:
            return
        if isinstance(error, Exception):
            job.fail(error)
        elif self._closed:
            self._cancelled_by_closing += 1
            closed = SessionClosedError("the session was closed while the call was running; it may be billed")
            closed.attempts = attempts.tries
            job.fail(closed)
        else:
            job.withdraw()

    def _consumer_ended(self, consumer: asyncio.Task[None]) -> None:
        """Fail the queued jobs if anything but closing ended the consumer; the next job starts another."""
        self._consumer = None
        if self._closed:
            return
        reason = "from outside" if consumer.cancelled() else f"by {type(consumer.exception()).__name__}"
        self._fail_queue(SessionClosedError(f"the queue was ended {reason}"))


JobType = Callable[[CallQueue, Order[Any], tuple[int, int], Mark | None], Job[Any]]
"""The factory of a queue's jobs: `Job`, or a subclass that also reports what happens to them."""


class Grant(HiddenRepr, msgspec.Struct):
    """A slot, and the file URL to use in it."""

    slot: Slot
    url: str
    sent: bool = False
    sent_at: float = 0.0


class PacedAttempts(Attempts[T]):
    """The attempts of a job, each with its own slot."""

    def __init__(self, queue: CallQueue, job: Job[T], first: Grant) -> None:
        super().__init__(job.order.timeout)
        self._queue = queue
        self._job = job
        self._grant: Grant | None = first
        self._order: Order[T] = job.order
        self._refusals = 0
        self._url_renewed = False
        self._phases_expired: tuple[str, ...] = ()

    async def acquire(self) -> Request[T]:
        if self._grant is None:
            self._grant = await self._queue.wait_for_next_grant(self._job)
        return self._order.request(self._grant.url)

    async def before_sending(self) -> None:
        job, grant = self._job, self._grant
        if job.mark is not None:
            await job.mark(job.maybe_billed + job.unconfirmed + 1)
        if grant is None:
            return
        # Checked here as well as in `on_sent`, so that no connection is used for an expired slot.
        if self._queue.pace.expired(grant.slot):
            self._raise_expired("preparing")
        if (seconds_until := self._queue.pace.seconds_until(grant.slot)) > 0:
            await asyncio.sleep(seconds_until)

    def on_sent(self) -> None:
        if self._job.ended:
            # The job has just been cancelled or timed out, so the request must not be sent.
            raise asyncio.CancelledError
        if (grant := self._grant) is not None:
            if self._queue.pace.expired(grant.slot):
                self._raise_expired("sending")
            self._queue.attempt_sent(self._job, grant)

    def _raise_expired(self, phase: Literal["preparing", "sending"]) -> None:
        """Raise `GrantExpired`: this process was stopped or delayed, and other processes may use later slots by now.

        Raised once per phase only. If writing the mark or opening a connection always takes longer than an interval,
        the call would otherwise never be sent.
        """
        if phase not in self._phases_expired:
            self._phases_expired += (phase,)
            raise GrantExpired

    def on_ended(self, error: BaseException | None) -> None:
        grant, self._grant = self._grant, None
        if grant is not None:
            self._queue.attempt_ended(self._job, grant, error)

    def recover(self, error: EkbError) -> bool:
        if isinstance(error, ThrottledError):
            self._refusals += 1
            return self._refusals < LIMITS.refusals_per_call
        if isinstance(error, RecognitionError) and not (self._url_renewed or error.has_entries):
            self._url_renewed = True
            return self._queue.forget_url(self._job)
        if isinstance(error, ProviderError) and not self._url_renewed:
            # An expired URL may cause this error too. Whether it is repeated is up to `protocol.retry`.
            self._url_renewed = True
            self._queue.forget_url(self._job)
        return False

    async def before_same_token(self) -> None:
        """Return at once: waiting for the next slot takes long enough."""
