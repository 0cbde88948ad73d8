"""The rate-limited interfaces of a session: each has a pace from the beginning, and a queue from its first call on.

A process may have open sessions of a thousand tenants, and most of them use one interface.
"""

from __future__ import annotations

from collections.abc import Callable

from ekb_async.pacing.rule import Pace
from ekb_async.queue.paced import CallQueue
from ekb_async.queue.stats import QueueCounts, QueueStats


class Interface:
    """One rate-limited interface; `make_queue` makes the queue of its calls."""

    def __init__(self, rate: float, pace: Pace, make_queue: Callable[[], CallQueue]) -> None:
        self.rate = rate
        self.pace = pace
        self.used_queue: CallQueue | None = None
        """The queue; None before the first call."""
        self._make_queue = make_queue

    @property
    def queue(self) -> CallQueue:
        """The queue of its calls, which is made now if there is none."""
        if self.used_queue is None:
            self.used_queue = self._make_queue()
        return self.used_queue

    @property
    def mean_duration(self) -> float:
        """The mean duration of recent calls in seconds; 0 before the first."""
        return 0.0 if self.used_queue is None else self.used_queue.mean_duration

    def stats(self) -> QueueStats:
        """Return the counts of its calls."""
        if self.used_queue is None:
            return QueueCounts(self.rate).snapshot(queued=0, running=0)
        return self.used_queue.stats()
