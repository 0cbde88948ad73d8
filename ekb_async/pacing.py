"""The pace of one rate-limited call.

The vendor allows one start a second per interface and does not say how it measures. The strictest way is to refuse a
call that arrives within a second of the last accepted one, so that is what slots are made for: each is one start, no
two are closer than `1 / rate` plus a guard against jitter on the network, and unused ones do not add up to a burst.

The guard adapts. A refusal at least doubles it, once for all calls that were under way when it came; every accepted
call takes a tenth of what was added back. A slot counts from when its call left this machine: opening a connection
takes time that the next call, on a warm connection, would not need.
"""

from __future__ import annotations

import asyncio
from typing import NewType, Protocol

from aiolimiter import AsyncLimiter

Slot = NewType("Slot", float)
"""The right to one start; its value is when it was claimed, on the loop's clock."""

_LATE = 0.001
_FIRST_WIDENING = 0.02
_NARROWING = 0.1


class Pacer(Protocol):
    """Slots for the starts of one call, claimed by one consumer at a time."""

    @property
    def interval(self) -> float:
        """Seconds between two starts as things stand, the guard included."""
        ...

    def wait(self) -> float:
        """Seconds until the next slot opens, estimated; 0 if it is open."""
        ...

    async def claim(self) -> Slot:
        """Waits for the next slot and takes it. Cancelled, it has taken none."""
        ...

    def started(self, slot: Slot) -> None:
        """The call with this slot leaves now: the next slot opens an interval from here."""
        ...

    def give_back(self, slot: Slot) -> None:
        """The slot was not needed: the next one opens at once."""
        ...

    def accepted(self, slot: Slot) -> None:
        """The vendor took the call of this slot: the guard narrows by a step."""
        ...

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        """The vendor refused the call of this slot for its rate: the guard widens, `retry_after` seconds are kept."""
        ...


class LimiterPacer:
    """The pace within one process, kept by `aiolimiter`, which is free of bursts at one unit per period."""

    def __init__(self, rate: float, guard: float, most_wait: float) -> None:
        self._period = 1.0 / rate
        self._least_guard = guard
        # Without any waiting between tries there would be no slowing down either.
        self._most_wait = max(most_wait, guard, self._period)
        self.guard = guard
        self._limiter = AsyncLimiter(1, self.interval)
        self._opens = 0.0
        self._not_before = float("-inf")
        self._moved = False
        self._widened = float("-inf")

    def __repr__(self) -> str:
        return f"<LimiterPacer: one start in {self._period:g} s + {self.guard:g} s>"

    @property
    def interval(self) -> float:
        return self._period + self.guard

    def wait(self) -> float:
        return max(0.0, self._opens - _now())

    async def claim(self) -> Slot:
        if not self._moved:
            await self._limiter.acquire()
        while self._moved:
            opens = self._opens
            await self._hold_until(opens)
            # A refusal may have come while waiting.
            self._moved = self._opens != opens
        now = _now()
        self._opens = now + self.interval
        return Slot(now)

    def started(self, slot: Slot) -> None:
        now = _now()
        if now - slot > min(_LATE, self.guard / 2):
            self._reopen(max(self._opens, now + self.interval))

    def give_back(self, slot: Slot) -> None:
        self._reopen(max(_now(), self._not_before))

    def accepted(self, slot: Slot) -> None:
        if self.guard > self._least_guard and slot > self._widened:
            added = (self.guard - self._least_guard) * (1 - _NARROWING)
            self.guard = self._least_guard + (added if added > _LATE else 0.0)
            self._reopen(self._opens)

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        now = _now()
        if slot > self._widened:
            wider = max(2 * self.guard, _FIRST_WIDENING * self._period)
            self.guard = min(wider, self._most_wait)
            self._widened = now
        asked = min(retry_after or 0.0, self._most_wait)
        self._not_before = max(self._not_before, now + max(asked, self.interval))
        self._reopen(max(self._opens, self._not_before))

    def _reopen(self, moment: float) -> None:
        self._opens = moment
        self._moved = True

    async def _hold_until(self, moment: float) -> None:
        """Puts a limiter in place whose next slot opens at this moment, and takes that slot."""
        far = moment - _now() - self.interval
        if far > 0:
            await asyncio.sleep(far)
        self._limiter = AsyncLimiter(1, self.interval)
        filled = (moment - _now()) / self.interval
        await self._limiter.acquire(min(1.0, max(0.0, filled)))
        await self._limiter.acquire()


def _now() -> float:
    return asyncio.get_running_loop().time()
