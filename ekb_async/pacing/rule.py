"""The pace of one rate-limited call.

The vendor allows one start a second per interface and does not say how it measures. The strictest way is to refuse a
call that arrives within a second of the last accepted one, so that is what slots are made for: each is one start, no
two are closer than `1 / rate` plus a guard against jitter on the network, and unused ones do not add up to a burst.

The guard adapts. A refusal at least doubles it, once for all calls that were under way when it came; every accepted
call takes a tenth of what was added back. A slot counts from when its call left this machine: opening a connection
takes time that the next call, on a warm connection, would not need.

What all starts of a call have in common is its `Bucket`, and this rule is written there once, without a clock or a
place to keep it. A `Pacer` is such a place: this process (`ProcessPace`), a file that all processes of a user share
(`ekb_async.pacing.sqlite`), or a database that hosts share (`ekb_async.postgres`). Where several claim from one bucket
they draw tickets, and the order of the tickets is the order of the slots. A ticket promises no moment: a late start, a
refusal or a wider guard moves all who wait, and nobody has to queue again for it. Whoever has not come when the next in
line is due (killed, or held up) is passed over. Going to a home takes time, in which the call could be on its way: so a
slot is fetched a little before it opens, and whoever has it prepares the call and waits for the rest.
"""

from __future__ import annotations

import asyncio
import math
from typing import NewType, Protocol, runtime_checkable

import msgspec
from aiolimiter import AsyncLimiter

Slot = NewType("Slot", float)
"""The right to one start; its value is from when on, on the clock of its home."""

_LATE = 0.001
_AHEAD = 0.02
_FIRST_WIDENING = 0.02
_NARROWING = 0.1
_NEVER = float("-inf")


class Pace(Protocol):
    """Slots for the starts of one call, claimed by one consumer at a time."""

    @property
    def interval(self) -> float:
        """Seconds between two of the consumer's starts as things stand, the guard included."""
        ...

    def wait(self) -> float:
        """Seconds until the next slot opens, estimated; 0 if it is open."""
        ...

    def unanswered(self) -> float:
        """Return the seconds that a claim has been waiting for an answer from the home, 0 if it waits for its slot."""
        ...

    def try_claim(self) -> Slot | None:
        """Takes the next slot if it is open. None if it is not, or if only waiting tells."""
        ...

    async def claim(self) -> Slot:
        """Waits for the next slot and takes it, maybe a little ahead. Cancelled, it has taken none."""
        ...

    def seconds_until(self, slot: Slot) -> float:
        """Seconds until a call with this slot may leave; there is time to prepare it."""
        ...

    def expired(self, slot: Slot) -> bool:
        """Whether a call that has not left with this slot by now needs another one, since others may start any time."""
        ...

    def mark_started(self, slot: Slot) -> None:
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

    async def close(self) -> None:
        """What was told is kept, and what the pacer alone held open is closed. Nothing may be claimed any more."""
        ...


@runtime_checkable
class Pacer(Protocol):
    """Where the buckets of calls are kept; it may serve any number of sessions."""

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> Pace:
        """A pacer on the bucket of this key, to be closed by its user. Does no I/O.

        `rate` is in starts per second, `margin` the least one in seconds, `most_wait` the longest wait in seconds that
        refusals may lead to.
        """
        ...


class PaceSettings(msgspec.Struct, frozen=True):
    """What one consumer keeps to, in seconds: a period, a least guard, and the longest wait after refusals."""

    period: float
    least_margin: float
    most_wait: float

    @classmethod
    def of(cls, rate: float, margin: float, most_wait: float) -> PaceSettings:
        period = 1.0 / rate
        # Without any waiting between tries there would be no slowing down either.
        return cls(period, margin, max(most_wait, margin, period))


class Bucket(msgspec.Struct):
    """The starts of one call, whoever makes them. Moments are seconds on the clock of the home."""

    latest: float = _NEVER
    """When the latest call left, or its slot was taken."""
    not_before: float = _NEVER
    """Until when a refusal holds all calls."""
    extra_margin: float = 0.0
    """What refusals have added to everybody's least guard."""
    widened: float = _NEVER
    issued: int = 0
    served: int = 0
    slowest: float = 0.0
    """The longest period among those who hold tickets."""

    def margin(self, settings: PaceSettings) -> float:
        return min(settings.least_margin + self.extra_margin, settings.most_wait)

    def interval(self, settings: PaceSettings) -> float:
        return settings.period + self.margin(settings)

    def opens(self, settings: PaceSettings) -> float:
        """When the next slot opens."""
        return max(self.latest + self.interval(settings), self.not_before)

    def slot_time(self, ticket: int, settings: PaceSettings) -> float:
        """When the slot of a ticket opens, if those ahead of it take theirs as soon as they may."""
        per_ticket = max(self.slowest, settings.period) + self.margin(settings)
        return self.opens(settings) + (ticket - self.served) * per_ticket

    def recall(self, now: float, settings: PaceSettings) -> None:
        """Nothing lies in the future but a slot that is about to open and a wait that was asked for: a clock that was
        set back stops nobody.
        """
        # Whoever took it may be further ahead than who looks now.
        self.latest = min(self.latest, now + _AHEAD)
        self.widened = min(self.widened, now)
        self.not_before = min(self.not_before, now + settings.period + settings.most_wait)

    def queue(self, ticket: int | None, settings: PaceSettings) -> int:
        """The ticket if it still holds, or a new one for who has none, was passed over, or comes from a lost file."""
        if ticket is not None and self.served <= ticket < self.issued:
            return ticket
        self.slowest = max(self.slowest, settings.period) if self.served < self.issued else settings.period
        self.issued += 1
        return self.issued - 1

    def take(self, now: float) -> Slot:
        self.latest = now
        return Slot(now)

    def ahead(self, settings: PaceSettings) -> float:
        """How long before it opens a slot may be taken, so that going to the home for it costs no time."""
        return min(_AHEAD, self.interval(settings) / 4)

    def take_slot(self, ticket: int, now: float, settings: PaceSettings) -> Slot | None:
        """The slot of a ticket, if it opens about now; tickets ahead of it that were not used lapse."""
        opens = self.slot_time(ticket, settings)
        if now < opens - self.ahead(settings):
            return None
        self.served = ticket + 1
        return self.take(max(now, opens))

    def leave(self, ticket: int) -> None:
        """A ticket will not be used. Behind the last one nobody waits; any other lapses when the next in line comes."""
        if self.served <= ticket == self.issued - 1:
            self.issued = ticket

    def late(self, slot: Slot, now: float, settings: PaceSettings) -> bool:
        """Whether a start is later than its slot by more than the guard can take."""
        return now - slot > min(_LATE, self.margin(settings) / 2)

    def start_late(self, now: float) -> None:
        self.latest = max(self.latest, now)

    def give_back(self, slot: Slot, now: float, settings: PaceSettings) -> None:
        # Whoever took the next slot already counts on the time since.
        if self.latest == slot:
            # One step down, so that no rounding leaves the next slot a moment ahead.
            self.latest = math.nextafter(now - self.interval(settings), _NEVER)

    def accept(self, slot: Slot) -> None:
        if slot > self.widened:
            rest = self.extra_margin * (1 - _NARROWING)
            self.extra_margin = rest if rest > _LATE else 0.0

    def refuse(self, slot: Slot, retry_after: float | None, now: float, settings: PaceSettings) -> None:
        if slot > self.widened:
            wider = min(max(2 * self.margin(settings), _FIRST_WIDENING * settings.period), settings.most_wait)
            self.extra_margin = max(self.extra_margin, wider - settings.least_margin)
            self.widened = now
        asked = min(retry_after or 0.0, settings.most_wait)
        self.not_before = max(self.not_before, now + max(asked, self.interval(settings)))


class ProcessPace:
    """The home of a pace within one process, where each session keeps its own."""

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> LimiterPace:
        return LimiterPace(rate, margin, most_wait)


class LimiterPace:
    """The pace within one process, with `aiolimiter` to wait by."""

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
        return max(0.0, self._opens - self._now())

    def unanswered(self) -> float:
        """A bucket of this process needs no answer."""
        return 0.0

    def try_claim(self) -> Slot | None:
        now = self._now()
        return self._bucket.take(now) if now >= self._opens else None

    async def claim(self) -> Slot:
        while (slot := self.try_claim()) is None:
            await self._hold_until(self._opens)
        return slot

    def seconds_until(self, slot: Slot) -> float:
        """Slots of this process are taken when they open."""
        return 0.0

    def expired(self, slot: Slot) -> bool:
        """Its only user claims nothing before the call has left."""
        return False

    def mark_started(self, slot: Slot) -> None:
        now = self._now()
        if self._bucket.late(slot, now, self._settings):
            self._bucket.start_late(now)

    def give_back(self, slot: Slot) -> None:
        self._bucket.give_back(slot, self._now(), self._settings)

    def accepted(self, slot: Slot) -> None:
        if self._bucket.extra_margin:
            self._bucket.accept(slot)

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        self._bucket.refuse(slot, retry_after, self._now(), self._settings)

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def _opens(self) -> float:
        return self._bucket.opens(self._settings)

    async def _hold_until(self, moment: float) -> None:
        """Waits on a limiter that is as full as leaks out until then."""
        far = moment - self._now() - self.interval
        # At least for a turn of the loop: what is left may be a rounding error, which the limiter lets pass at once.
        await asyncio.sleep(max(0.0, far))
        limiter = AsyncLimiter(1, self.interval)
        filled = (moment - self._now()) / self.interval
        await limiter.acquire(min(1.0, max(0.0, filled)))
        await limiter.acquire()
