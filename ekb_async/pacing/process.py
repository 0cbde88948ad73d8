"""The pace within one process: the pacer that sessions have unless they are given another one.

`aiolimiter` does the waiting. It cannot keep the bucket: refusals and returned slots change when the next slot opens
while a call waits for it.
"""

from __future__ import annotations

import asyncio

from ekb_async.pacing.limits import LIMITS
from ekb_async.pacing.rule import Bucket, Learned, LearningPace, PaceSettings, Slot


class ProcessPacer:
    """The pacer within one process. Its paces outlive sessions; those of the same keys and settings share one."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, float, float, float], LimiterPace] = {}

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> LimiterPace:
        settings = (key, rate, margin, most_wait)
        if settings not in self._paces:
            self._paces[settings] = LimiterPace(rate, margin, most_wait)
        return self._paces[settings]


class LimiterPace(LearningPace):
    """A pace within one process, which waits on `aiolimiter`."""

    def __init__(self, rate: float, margin: float, most_wait: float) -> None:
        super().__init__(PaceSettings.of(rate, margin, most_wait))
        self._bucket = Bucket()
        self._now = asyncio.get_running_loop().time

    def __repr__(self) -> str:
        return f"<LimiterPace: one start in {self._settings.period:g} s + {self._bucket.margin(self._settings):g} s>"

    @property
    def interval(self) -> float:
        return self._bucket.interval(self._settings)

    def wait(self) -> float:
        return max(0.0, self._bucket.opens(self._settings) - self._now())

    def unanswered(self) -> float:
        """Return 0: a bucket of this process is read at once."""
        return 0.0

    def try_claim(self) -> Slot | None:
        now = self._now()
        return self._bucket.take(now) if now >= self._bucket.opens(self._settings) else None

    async def claim(self) -> Slot:
        while (slot := self.try_claim()) is None:
            await self._wait_until(self._bucket.opens(self._settings))
        return slot

    def seconds_until(self, slot: Slot) -> float:
        """Return 0: slots of this process are taken when they open."""
        return 0.0

    def expired(self, slot: Slot) -> bool:
        """Return whether another session has claimed a later slot."""
        return self._bucket.latest > slot

    def mark_started(self, slot: Slot) -> None:
        now = self._now()
        if self._bucket.is_late(slot, now, self._settings):
            self._bucket.record_late_start(now)

    def give_back(self, slot: Slot) -> None:
        self._bucket.give_back(slot, self._now(), self._settings)

    def accepted(self, slot: Slot, seconds: float | None = None) -> None:
        if self._bucket.is_learned_from(slot):
            self._bucket.accept(self._settings)
        self._answered(seconds)

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        settings = self._settings_of_refused(self._bucket, slot)
        self._bucket.refuse(slot, retry_after, self._now(), settings)

    def learned(self) -> Learned:
        return self._learned_in(self._bucket)

    async def close(self) -> None:
        """Do nothing: nothing is open."""

    async def _wait_until(self, moment: float) -> None:
        """Wait on a limiter whose one unit has leaked out by then."""
        from aiolimiter import AsyncLimiter

        # What is left may be a rounding error, by which a clock may not advance.
        limiter = AsyncLimiter(1, max(moment - self._now(), LIMITS.shortest_wait_seconds))
        await limiter.acquire()
        await limiter.acquire()
