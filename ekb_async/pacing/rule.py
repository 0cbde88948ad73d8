"""The rule by which the starts of one rate-limited call follow one another.

The vendor allows one start a second per interface and does not say how it measures. The strictest way is to refuse a
call that arrives within a second of the last accepted one, and slots are designed for that. Each slot is one start, no
two are closer than `1 / rate` plus a margin against jitter on the network, and unused slots do not add up to a burst.

The margin adapts. A refusal at least doubles it, once for all calls that were under way when the refusal came; every
accepted call takes back a tenth of what was added. A slot counts from the moment its call left this machine: opening a
connection takes time that the next call, on a warm connection, would not need.

All starts of a call share one `Bucket`, and the rule is written there once, without a clock and without storage. A
`Pacer` keeps buckets: in this process (`ProcessPacer`), in a file that all processes of a user share
(`ekb_async.pacing.sqlite`), or in a database that hosts share (`ekb_async.postgres`). It gives each queue a
`Pace`, which yields the slots of one bucket.

Processes that share a bucket draw tickets, and the order of the tickets is the order of the slots. A ticket promises no
moment: a late start, a refusal or a larger margin moves all waiting tickets, and no claim has to queue again. A ticket
that is not used when the next one is due (its process was killed or delayed) is passed over. Fetching a slot from a
store takes time in which the call could be on its way. So a slot is fetched a little before it opens, and its process
prepares the call and waits for the rest.

Within a process, `aiolimiter` does the waiting. It cannot keep the bucket: refusals, returned slots and other processes
change when the next slot opens while a call waits for it.
"""

from __future__ import annotations

import asyncio
import math
from typing import NewType, Protocol, runtime_checkable

import msgspec
from aiolimiter import AsyncLimiter

from ekb_async.pacing.limits import LIMITS

Slot = NewType("Slot", float)
"""The right to one start; its value is when it opens, in seconds on the clock of its bucket's store."""

_NEVER = float("-inf")


class Pace(Protocol):
    """Slots for the starts of one call, claimed by one consumer at a time."""

    @property
    def interval(self) -> float:
        """Return the seconds between two of the consumer's starts at present, with the margin."""
        ...

    def wait(self) -> float:
        """Return the estimated seconds until the next slot opens; 0 if it is open."""
        ...

    def unanswered(self) -> float:
        """Return how many seconds a claim has waited for an answer of the store; 0 if it waits for its slot."""
        ...

    def try_claim(self) -> Slot | None:
        """Take the next slot if it is open. Return None if it is not, or if only `claim` can find out."""
        ...

    async def claim(self) -> Slot:
        """Wait for the next slot and take it, maybe shortly before it opens. A cancelled claim has taken none."""
        ...

    def seconds_until(self, slot: Slot) -> float:
        """Return the seconds until a call with this slot may leave, which are there to prepare it."""
        ...

    def expired(self, slot: Slot) -> bool:
        """Return whether a call that has not left yet needs another slot, since another process may start any time."""
        ...

    def mark_started(self, slot: Slot) -> None:
        """Record that the call with this slot leaves now: the next slot opens an interval from here."""
        ...

    def give_back(self, slot: Slot) -> None:
        """Return a slot that was not needed: the next one opens at once."""
        ...

    def accepted(self, slot: Slot) -> None:
        """Record that the vendor accepted the call of this slot: the margin shrinks by a step."""
        ...

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        """Record that the vendor refused the call of this slot for its rate.

        The margin grows, and no call starts for `retry_after` seconds.
        """
        ...

    async def close(self) -> None:
        """Save what was recorded and close what this pace alone held open. Nothing may be claimed afterwards."""
        ...


@runtime_checkable
class Pacer(Protocol):
    """A source of paces, which keeps the buckets of calls; it may serve any number of sessions."""

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> Pace:
        """Return a pace on the bucket of this key, which the caller closes. Does no I/O.

        `rate` is in starts per second, `margin` the least margin in seconds, `most_wait` the longest wait in seconds
        that refusals may lead to.
        """
        ...


class PaceSettings(msgspec.Struct, frozen=True):
    """What one consumer asks for, in seconds: a period, a least margin, and the longest wait after refusals."""

    period: float
    least_margin: float
    most_wait: float

    @classmethod
    def of(cls, rate: float, margin: float, most_wait: float) -> PaceSettings:
        period = 1.0 / rate
        # If retries do not wait, refusals must slow calls down all the same.
        return cls(period, margin, max(most_wait, margin, period))


class Bucket(msgspec.Struct):
    """The starts of one call by all processes. Moments are seconds on the clock of the store."""

    latest: float = _NEVER
    """When the latest call left, or its slot was taken."""
    not_before: float = _NEVER
    """The end of the wait that a refusal imposes on all calls."""
    extra_margin: float = 0.0
    """What refusals have added to the least margin of every consumer."""
    margin_raised_at: float = _NEVER
    """When the extra margin last grew."""
    issued: int = 0
    """How many tickets have been drawn."""
    served: int = 0
    """How many tickets have been used or passed over."""
    slowest: float = 0.0
    """The longest period among the holders of tickets."""

    def margin(self, settings: PaceSettings) -> float:
        return min(settings.least_margin + self.extra_margin, settings.most_wait)

    def interval(self, settings: PaceSettings) -> float:
        return settings.period + self.margin(settings)

    def opens(self, settings: PaceSettings) -> float:
        """Return when the next slot opens."""
        return max(self.latest + self.interval(settings), self.not_before)

    def slot_time(self, ticket: int, settings: PaceSettings) -> float:
        """Return when the slot of a ticket opens if the tickets ahead are used as early as possible."""
        per_ticket = max(self.slowest, settings.period) + self.margin(settings)
        return self.opens(settings) + (ticket - self.served) * per_ticket

    def clamp_to(self, now: float, settings: PaceSettings) -> None:
        """Bring future moments close to now, so that a clock that was set back blocks no call.

        Only a slot that is about to open and a wait that the vendor asked for may lie in the future.
        """
        # The slot may have been taken by a consumer with a longer lead time than this one's.
        self.latest = min(self.latest, now + LIMITS.lead_seconds)
        self.margin_raised_at = min(self.margin_raised_at, now)
        self.not_before = min(self.not_before, now + settings.period + settings.most_wait)

    def ensure_ticket(self, ticket: int | None, settings: PaceSettings) -> int:
        """Return the ticket, or draw a new one if there is none, it was passed over, or it comes from a lost file."""
        if ticket is not None and self.served <= ticket < self.issued:
            return ticket
        self.slowest = max(self.slowest, settings.period) if self.served < self.issued else settings.period
        self.issued += 1
        return self.issued - 1

    def take(self, now: float) -> Slot:
        self.latest = now
        return Slot(now)

    def lead_time(self, settings: PaceSettings) -> float:
        """Return how many seconds before it opens a slot may be taken, so that the way to the store costs no time."""
        return min(LIMITS.lead_seconds, self.interval(settings) * LIMITS.lead_share)

    def take_slot(self, ticket: int, now: float, settings: PaceSettings) -> Slot | None:
        """Take the slot of a ticket if it opens about now; unused tickets ahead of it are passed over."""
        opens = self.slot_time(ticket, settings)
        if now < opens - self.lead_time(settings):
            return None
        self.served = ticket + 1
        return self.take(max(now, opens))

    def discard_ticket(self, ticket: int) -> None:
        """Take back a ticket that will not be used, if it is the last one; any other is passed over later."""
        if self.served <= ticket == self.issued - 1:
            self.issued = ticket

    def is_late(self, slot: Slot, now: float, settings: PaceSettings) -> bool:
        """Return whether a start is later than its slot by more than the margin allows for."""
        return now - slot > min(LIMITS.tolerated_lateness_seconds, self.margin(settings) / 2)

    def record_late_start(self, now: float) -> None:
        self.latest = max(self.latest, now)

    def give_back(self, slot: Slot, now: float, settings: PaceSettings) -> None:
        # If the next slot was taken already, it was timed from this one.
        if self.latest == slot:
            # One step down, so that no rounding leaves the next slot a moment ahead.
            self.latest = math.nextafter(now - self.interval(settings), _NEVER)

    def accept(self, slot: Slot) -> None:
        if slot > self.margin_raised_at:
            rest = self.extra_margin * (1 - LIMITS.margin_decrease_share)
            self.extra_margin = rest if rest > LIMITS.least_extra_margin_seconds else 0.0

    def refuse(self, slot: Slot, retry_after: float | None, now: float, settings: PaceSettings) -> None:
        if slot > self.margin_raised_at:
            raised = max(2 * self.margin(settings), LIMITS.first_margin_share * settings.period)
            self.extra_margin = max(self.extra_margin, min(raised, settings.most_wait) - settings.least_margin)
            self.margin_raised_at = now
        requested = min(retry_after or 0.0, settings.most_wait)
        self.not_before = max(self.not_before, now + max(requested, self.interval(settings)))


class ProcessPacer:
    """The pacer within one process. Its paces outlive sessions; those of the same keys and settings share one."""

    def __init__(self) -> None:
        self._paces: dict[tuple[str, float, float, float], LimiterPace] = {}

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> LimiterPace:
        settings = (key, rate, margin, most_wait)
        if settings not in self._paces:
            self._paces[settings] = LimiterPace(rate, margin, most_wait)
        return self._paces[settings]


class LimiterPace:
    """A pace within one process, which waits on `aiolimiter`."""

    def __init__(self, rate: float, margin: float, most_wait: float) -> None:
        self._settings = PaceSettings.of(rate, margin, most_wait)
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

    def accepted(self, slot: Slot) -> None:
        if self._bucket.extra_margin:
            self._bucket.accept(slot)

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        self._bucket.refuse(slot, retry_after, self._now(), self._settings)

    async def close(self) -> None:
        """Do nothing: nothing is open."""

    async def _wait_until(self, moment: float) -> None:
        """Wait on a limiter whose one unit has leaked out by then."""
        # What is left may be a rounding error, by which a clock may not advance.
        limiter = AsyncLimiter(1, max(moment - self._now(), LIMITS.shortest_wait_seconds))
        await limiter.acquire()
        await limiter.acquire()
