"""A queued call, and the priority queue it waits in.

`JobQueue` also gives the jobs at its front in order, since their files have to be prepared. It keeps these in a short
sorted list and all others in a heap, so that queuing a job costs one heap entry however many jobs wait. All of it is
synchronous: there is no await between reading and writing.
"""

from __future__ import annotations

import asyncio
import bisect
import enum
import heapq
import itertools
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, Generic, Literal, Protocol, TypeVar

from ekb_async.client.hooks import report
from ekb_async.config import Priority
from ekb_async.errors import EkbConnectionError, EkbError, EkbTimeoutError
from ekb_async.files.urls import CallFile
from ekb_async.protocol.endpoints import Request
from ekb_async.protocol.retry import History
from ekb_async.queue.limits import LIMITS

T = TypeVar("T")

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
Mark = Callable[[int], Awaitable[None]]
"""Awaited before an attempt is sent, with the number of attempts that will then be without an answer."""
JobEnd = Callable[["Job[Any]"], None]
"""Called once with a job that has ended."""
JobRetry = Callable[["Job[Any]", EkbError], None]
"""Called with a job that waits before its next try, and the error of the latest."""


class Phase(enum.IntEnum):
    """Where a job is; the transitions stand in `ekb_async.queue.states`."""

    WAITING = 0
    """It waits for a slot."""
    GRANTED = 1
    """It has a slot, and its attempt is being prepared."""
    SENT = 2
    """Its attempt was sent, so that it may be billed."""
    BACKOFF = 3
    """It waits before its next attempt."""
    DONE = 4
    FAILED = 5
    CANCELLED = 6


_NEW = History(billed=True, has_slots=True)
_ATTACHED = History(billed=True, has_slots=True, renewable_url=True)
_FREE = History(has_slots=True)
_STATES: tuple[JobState, ...] = ("queued", "running", "running", "queued", "done", "failed", "cancelled")


class Owner(Protocol):
    """The call queue of a job, as far as the job uses it."""

    loop: asyncio.AbstractEventLoop

    @property
    def call(self) -> str: ...

    def position(self, job: Job[Any]) -> int: ...

    def eta(self, job: Job[Any]) -> float: ...

    def cancel(self, job: Job[Any]) -> None: ...


class Order(Generic[T]):
    """What a job requests: its file, if the call takes one, and the function that makes a request from the file's URL.

    `timeout` is that of each attempt, in seconds. A lost answer of a `billed` call may have been paid for.
    """

    __slots__ = ("billed", "file", "needs_url", "request", "timeout")

    def __init__(
        self, file: CallFile | None, request: Callable[[str], Request[T]], timeout: float, *, billed: bool = True
    ) -> None:
        self.billed = billed
        self.file = file
        self.needs_url = file is not None and file.url is None
        self.request = request
        self.timeout = timeout


class Job(Generic[T]):
    """A call that is queued, running or ended; awaiting it returns its result or raises its error.

    Cancelling a task that awaits a queued job removes the job from the queue, unless another task awaits it too. A
    running call continues, since it may be billed; awaiting the job again returns its result.
    """

    __slots__ = (
        "_error",
        "_owner",
        "_result",
        "_waiters",
        "attempts",
        "ended",
        "failure",
        "history",
        "is_refused",
        "key",
        "lapses",
        "mark",
        "maybe_billed",
        "on_end",
        "on_retry",
        "order",
        "phase",
        "timer",
        "unconfirmed",
    )

    def __init__(
        self,
        owner: Owner,
        order: Order[T],
        key: tuple[int, int],
        mark: Mark | None = None,
        on_end: JobEnd | None = None,
        on_retry: JobRetry | None = None,
    ) -> None:
        self._owner = owner
        self._result: T | None = None
        self._error: Exception | None = None
        self.failure: Exception | None = None
        """The error that ended the job, as it was met."""
        self.is_refused = False
        """Whether it ended because the vendor refused its latest attempt for the rate, the token or a permission."""
        self._waiters: list[asyncio.Future[None]] | None = None
        self.phase = Phase.WAITING
        self.ended = False
        """Whether it has a result or an error, or was cancelled."""
        self.order: Any = order
        """The `Order`; None once the job has ended."""
        self.key = key
        self.history = _ATTACHED if order.needs_url else _NEW if order.billed else _FREE
        self.mark = mark
        self.on_end = on_end
        """Called once, when the job has ended."""
        self.on_retry = on_retry
        """Called after each try that failed and is followed by another."""
        self.attempts = 0
        """How often the call has been sent."""
        self.maybe_billed = 0
        """How often the call was repeated after its answer was lost."""
        self.unconfirmed = False
        """Whether the call was sent and not answered, so that it may be billed."""
        self.timer: asyncio.TimerHandle | None = None
        """Ends the job after `max_wait`; None without a limit, and once the call was sent."""
        self.lapses: tuple[str, ...] = ()
        """In what a slot has passed before the call was sent: "preparing", "sending"."""

    def __repr__(self) -> str:
        return f"<Job {self.state} {Priority(self.key[0]).name}>"

    @property
    def call(self) -> str:
        """The name of the call, as in `EkbSession.stats`: `"ocr"`, `"verify"`, …"""
        return self._owner.call

    @property
    def state(self) -> JobState:
        """`"queued"` (between two attempts as well), `"running"`, `"done"`, `"failed"` or `"cancelled"`."""
        return _STATES[self.phase]

    @property
    def position(self) -> int | None:
        """Number of jobs ahead of this one; None unless it is queued. Computed from the whole queue on each access."""
        return self._owner.position(self) if self.state == "queued" else None

    @property
    def eta(self) -> float | None:
        """Estimated seconds until the call is sent; 0 while it runs, None once it has ended."""
        state = self.state
        return self._owner.eta(self) if state == "queued" else 0.0 if state == "running" else None

    @property
    def result(self) -> T | None:
        """The result of the call; None unless the state is `"done"`."""
        return self._result

    @property
    def error(self) -> Exception | None:
        """The error of the call; None unless the state is `"failed"`."""
        return self._error

    def cancel(self) -> bool:
        """Remove the job from the queue, or cancel its running call, which may be billed all the same.

        Returns False if the job has ended already.
        """
        if self.ended:
            return False
        self._owner.cancel(self)
        return True

    def __await__(self) -> Generator[Any, None, T]:
        return self._outcome().__await__()

    # For the queue

    def succeed(self, result: Any) -> None:
        self._result, self.phase, self.ended = result, Phase.DONE, True

    def fail(self, error: Exception) -> None:
        """End with the error of the latest attempt, or of another call."""
        self.failure, self.phase, self.ended = error, Phase.FAILED, True
        self._error = self._with_attempts(error) if isinstance(error, EkbError) and self.attempts else error

    def _with_attempts(self, error: EkbError) -> EkbError:
        """Return an error as a caller gets it, which asks about the call and not about its latest attempt."""
        error = error.again()
        error.maybe_billed = self.maybe_billed + self.unconfirmed
        error.attempts = error.attempts or self.attempts
        error.preliminary = False
        if error.maybe_billed and isinstance(error, EkbTimeoutError | EkbConnectionError):
            error.sent = True
        return error

    def withdraw(self) -> None:
        self.phase, self.ended = Phase.CANCELLED, True

    def resolve(self) -> None:
        """Wake what waits for the job, which has ended, and call `on_end`."""
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = self.order = None
        if self.on_end is not None:
            report((self.on_end,), self)

    async def _outcome(self) -> T:
        if not self.ended:
            waiter: asyncio.Future[None] = self._owner.loop.create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if self._waiters is not None:
                    self._waiters.remove(waiter)
                    if not self._waiters and self.state == "queued":
                        self.cancel()
                raise
        if self.phase is Phase.CANCELLED:
            raise asyncio.CancelledError
        if self._error is not None:
            raise self._error.again() if isinstance(self._error, EkbError) else self._error
        return self._result  # type: ignore[return-value]  # a job that is done has a result


class JobQueue:
    """Waiting jobs, ordered by priority and then by age."""

    def __init__(self) -> None:
        self._front_limit = LIMITS.front_jobs
        self.front: list[Job[Any]] = []
        self._rest: list[tuple[tuple[int, int], Job[Any]]] = []
        self._ended_in_rest = 0
        self._numbers = itertools.count()
        self._by_priority: dict[int, int] = dict.fromkeys(Priority, 0)
        self.jobs_needing_url = 0
        """Waiting jobs whose file is not given as a URL."""

    def __len__(self) -> int:
        return len(self.front) + len(self._rest) - self._ended_in_rest

    def __iter__(self) -> Iterator[Job[Any]]:
        yield from self.front
        yield from (job for _, job in self._rest if not job.ended)

    def next_key(self, priority: Priority) -> tuple[int, int]:
        """Return the key of a new job; the job keeps it when it is queued again, and so its place in the order."""
        return (priority, next(self._numbers))

    def ahead_of_new(self, priority: int) -> int:
        """Return how many jobs would be ahead of a new one with this priority."""
        return sum(count for each, count in self._by_priority.items() if each <= priority)

    def position(self, job: Job[Any]) -> int:
        """Return how many jobs are ahead of this one."""
        return sum(1 for other in self if other.key < job.key)

    def push(self, job: Job[Any]) -> None:
        self._by_priority[job.key[0]] += 1
        self.jobs_needing_url += job.order.needs_url
        self._compact()
        # The front is full as long as the heap has jobs.
        if len(self.front) >= self._front_limit and job.key > self.front[-1].key:
            heapq.heappush(self._rest, (job.key, job))
            return
        bisect.insort(self.front, job, key=_key)
        if len(self.front) > self._front_limit:
            last = self.front.pop()
            heapq.heappush(self._rest, (last.key, last))

    def remove(self, job: Job[Any]) -> None:
        """Remove a job that is in the queue. The caller must end it right after if it is not at the front."""
        self._by_priority[job.key[0]] -= 1
        self.jobs_needing_url -= job.order.needs_url
        # Most jobs that leave are first in line.
        is_first = bool(self.front) and self.front[0] is job
        index = 0 if is_first else bisect.bisect_left(self.front, job.key, key=_key)
        if index < len(self.front) and self.front[index] is job:
            del self.front[index]
            self._refill()
        else:
            # Removing an entry inside a heap means rebuilding it, so the entry stays until it reaches the top.
            self._ended_in_rest += 1

    def drain(self) -> list[Job[Any]]:
        """Remove all jobs and return them in order."""
        jobs = [*self.front, *sorted((job for _, job in self._rest if not job.ended), key=_key)]
        self.front.clear()
        self._rest.clear()
        self._ended_in_rest = 0
        self._by_priority = dict.fromkeys(Priority, 0)
        self.jobs_needing_url = 0
        return jobs

    def _refill(self) -> None:
        while self._rest and len(self.front) < self._front_limit:
            _, job = heapq.heappop(self._rest)
            if job.ended:
                self._ended_in_rest -= 1
            else:
                self.front.append(job)

    def _compact(self) -> None:
        if self._ended_in_rest > self._front_limit and 2 * self._ended_in_rest > len(self._rest):
            self._rest = [entry for entry in self._rest if not entry[1].ended]
            heapq.heapify(self._rest)
            self._ended_in_rest = 0


def _key(job: Job[Any]) -> tuple[int, int]:
    return job.key


async def result_of(job: Job[T]) -> T:
    """Return the result of a job, and cancel the job if the waiting task, its only owner, is cancelled."""
    try:
        return await job
    finally:
        job.cancel()
