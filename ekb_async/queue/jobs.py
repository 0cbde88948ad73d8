"""A queued call, and the queue it waits in.

`JobQueue` is a priority queue that also shows the jobs nearest to the mouth in order, since those need their files
made ready. It keeps them in a short sorted list and all others in a heap: a job costs a heap entry, however many
wait. All of it is synchronous; there is no await between reading and writing.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, Generic, Literal, Protocol, TypeVar

from ekb_async.config import Priority
from ekb_async.errors import EkbError

T = TypeVar("T")

JobState = Literal["queued", "running", "done", "failed", "cancelled"]

FRONT = 100
"""Jobs shown in order; as many as one download-URL request takes."""


class Owner(Protocol):
    """The lane a job waits in."""

    loop: asyncio.AbstractEventLoop

    def position(self, job: Job[Any]) -> int: ...

    def eta(self, job: Job[Any]) -> float: ...

    def cancel(self, job: Job[Any]) -> None: ...


class Job(Generic[T]):
    """A call that waits for its turn or is being made; awaiting it gives its result or raises its error.

    Cancelling a task that awaits a queued job takes the job out of the queue, unless another task awaits it too. A call
    that is under way is left alone then, since it has been paid for; awaiting the job again gives its result.
    """

    __slots__ = (
        "_error",
        "_owner",
        "_result",
        "_state",
        "_waiters",
        "attempts",
        "before_sending",
        "key",
        "maybe_billed",
        "next_grant",
        "on_end",
        "order",
        "task",
        "timer",
        "unconfirmed",
    )

    def __init__(self, owner: Owner, order: Any, key: tuple[int, int]) -> None:
        self._owner = owner
        self._state: JobState = "queued"
        self._result: T | None = None
        self._error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.order: Any = order
        self.key = key
        self.attempts = 0
        """How often the call was sent so far."""
        self.maybe_billed = 0
        """How often it was sent again after an answer was lost."""
        self.unconfirmed = False
        """Whether it was sent and not answered, so that it may be billed."""
        self.before_sending: Callable[[int], Awaitable[None]] | None = None
        """Awaited before each attempt leaves, with the number of attempts that will then have no answer yet."""
        self.on_end: Callable[[Job[T]], None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.next_grant: asyncio.Future[Any] | None = None

    def __repr__(self) -> str:
        return f"<Job {self._state} {Priority(self.key[0]).name}>"

    @property
    def state(self) -> JobState:
        """`"queued"` (also between two attempts), `"running"`, `"done"`, `"failed"` or `"cancelled"`."""
        return self._state

    @property
    def position(self) -> int | None:
        """How many jobs go before this one, 0 = next; None once it is no longer queued. Counts the queue when asked."""
        return self._owner.position(self) if self._state == "queued" else None

    @property
    def eta(self) -> float | None:
        """Seconds until it is sent, estimated; 0 while it runs, None once it has ended."""
        if self._state == "queued":
            return self._owner.eta(self)
        return 0.0 if self._state == "running" else None

    @property
    def result(self) -> T | None:
        """What the call gave; None unless the state is `"done"`."""
        return self._result

    @property
    def error(self) -> Exception | None:
        """What the call failed with; None unless the state is `"failed"`."""
        return self._error if self._state == "failed" else None

    def cancel(self) -> bool:
        """Takes it out of the queue, or breaks off the running call (which may be billed). False if it has ended."""
        if self.ended:
            return False
        self._owner.cancel(self)
        return True

    def __await__(self) -> Generator[Any, None, T]:
        return self._outcome().__await__()

    @property
    def ended(self) -> bool:
        return self._state not in {"queued", "running"}

    def set_state(self, state: Literal["queued", "running"]) -> None:
        self._state = state

    def succeed(self, result: T) -> None:
        self._result = result
        self._end("done")

    def fail(self, error: Exception) -> None:
        self._error = error
        self._end("failed")

    def withdraw(self) -> None:
        self._end("cancelled")

    def _end(self, state: JobState) -> None:
        if self.ended:
            return
        self._state = state
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = None
        self.order = None
        if self.on_end is not None:
            self.on_end(self)

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
                    if not self._waiters and self._state == "queued":
                        self.cancel()
                raise
        if self._state == "cancelled":
            raise asyncio.CancelledError
        if self._error is not None:
            raise self._error.again() if isinstance(self._error, EkbError) else self._error
        return self._result  # type: ignore[return-value]  # None only where T allows it


class JobQueue:
    """Waiting jobs by priority, then by age."""

    def __init__(self) -> None:
        self.front: list[Job[Any]] = []
        self._rest: list[tuple[tuple[int, int], Job[Any]]] = []
        self._gone = 0
        self._numbers = itertools.count()
        self._by_priority: dict[int, int] = dict.fromkeys(Priority, 0)
        self.to_stage = 0
        """Jobs whose files are not URLs already."""

    def __len__(self) -> int:
        return len(self.front) + len(self._rest) - self._gone

    def __iter__(self) -> Iterator[Job[Any]]:
        yield from self.front
        yield from (job for _, job in self._rest if not job.ended)

    def next_key(self, priority: Priority) -> tuple[int, int]:
        """The place of a job that comes now; it keeps it when it is queued again."""
        return (priority, next(self._numbers))

    def ahead_of_new(self, priority: int) -> int:
        """How many jobs would go before one that comes now."""
        return sum(count for each, count in self._by_priority.items() if each <= priority)

    def position(self, job: Job[Any]) -> int:
        """How many jobs go before this one."""
        return sum(1 for other in self if other.key < job.key)

    def push(self, job: Job[Any]) -> None:
        self._by_priority[job.key[0]] += 1
        self.to_stage += job.order.needs_url
        self._compact()
        # Whenever there is a rest, the front is full.
        if len(self.front) >= FRONT and job.key > self.front[-1].key:
            heapq.heappush(self._rest, (job.key, job))
            return
        bisect.insort(self.front, job, key=_key)
        if len(self.front) > FRONT:
            last = self.front.pop()
            heapq.heappush(self._rest, (last.key, last))

    def remove(self, job: Job[Any]) -> None:
        """Takes out a job that is in the queue. One that is not among the next in line must end right after."""
        self._by_priority[job.key[0]] -= 1
        self.to_stage -= job.order.needs_url
        place = bisect.bisect_left(self.front, job.key, key=_key)
        if place < len(self.front) and self.front[place] is job:
            del self.front[place]
            self._refill()
        else:
            # A heap gives up its middle only by being rebuilt, so the entry stays until it surfaces.
            self._gone += 1

    def drain(self) -> list[Job[Any]]:
        """Takes out all jobs, in order."""
        jobs = [*self.front, *sorted((job for _, job in self._rest if not job.ended), key=_key)]
        self.front.clear()
        self._rest.clear()
        self._gone = 0
        self._by_priority = dict.fromkeys(Priority, 0)
        self.to_stage = 0
        return jobs

    def _refill(self) -> None:
        while self._rest and len(self.front) < FRONT:
            _, job = heapq.heappop(self._rest)
            if job.ended:
                self._gone -= 1
            else:
                self.front.append(job)

    def _compact(self) -> None:
        if self._gone > FRONT and 2 * self._gone > len(self._rest):
            self._rest = [entry for entry in self._rest if not entry[1].ended]
            heapq.heapify(self._rest)
            self._gone = 0


def _key(job: Job[Any]) -> tuple[int, int]:
    return job.key
