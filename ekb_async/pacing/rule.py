"""The rule by which the starts of one rate-limited call follow one another.

The vendor allows one start a second per interface and does not say how it measures. The strictest way is to refuse a
call that arrives within a second of the last accepted one, and slots are designed for that. Each slot is one start, no
two are closer than `1 / rate` plus a margin against jitter on the network, and unused slots do not add up to a burst.

The margin is learned, see `learning`: a refusal raises it, once for all calls that were under way when the refusal
came, and accepted calls lower it. After a refusal the next call may leave at once, since the limiter has been idle for
a period by then; only if that one is refused as well, some limiter counts refused calls, and the next ones wait for an
interval. A slot counts from the moment its call left this machine: opening a connection takes time that the next call,
on a warm connection, would not need.

All starts of a call share one `Bucket`, and the rule is written there once, without a clock and without storage. A
`Pacer` keeps buckets: in this process (`ekb_async.pacing.process`), in a file that all processes of a user share
(`ekb_async.pacing.sqlite`), or in a database that hosts share (`ekb_async.postgres`). It gives each queue a
`Pace`, which yields the slots of one bucket.

Processes that share a bucket draw tickets, and the order of the tickets is the order of the slots. A ticket promises no
moment: a late start, a refusal or a larger margin moves all waiting tickets, and no claim has to queue again. A ticket
that is not used for a moment after its slot has opened (its process was killed or delayed) is passed over. Fetching a
slot from a store takes time in which the call could be on its way. So a slot is fetched a little before it opens, and
its process prepares the call and waits for the rest.
"""

from __future__ import annotations

import math
from typing import NewType, Protocol, runtime_checkable

import msgspec

from ekb_async.pacing.learning import AnswerTimes, narrowing, widening
from ekb_async.pacing.limits import LIMITS

Slot = NewType("Slot", float)
"""The right to one start; its value is when it opens, in seconds on the clock of its bucket's store."""

_NEVER = float("-inf")


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What a pace has learned, in seconds.

    `margin` is the present margin, `refused` the margin at which a call was last refused (0: none was), `deviation`
    that of the times of successive answers.
    """

    margin: float
    refused: float
    deviation: float


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

    def accepted(self, slot: Slot, seconds: float | None = None) -> None:
        """Record that the vendor accepted the call of this slot and answered after `seconds`: the margin may shrink."""
        ...

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        """Record that the vendor refused the call of this slot for its rate.

        The margin grows, and no call starts for `retry_after` seconds.
        """
        ...

    def learned(self) -> Learned:
        """Return what is known about the margin."""
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
    """What one consumer asks for, in seconds.

    A period, the margin to begin with and the least one to be learned, the longest wait after refusals, and the largest
    margin that its answers show to be needed.
    """

    period: float
    first_margin: float
    least_margin: float
    most_wait: float
    most_margin: float = math.inf

    @classmethod
    def of(
        cls, rate: float, margin: float, most_wait: float, *, least_share: float = LIMITS.least_margin_share
    ) -> PaceSettings:
        period = 1.0 / rate
        # If retries do not wait, refusals must slow calls down all the same.
        return cls(period, margin, min(margin, least_share * period), max(most_wait, margin, period))


class Bucket(msgspec.Struct):
    """The starts of one call by all processes. Moments are seconds on the clock of the store."""

    latest: float = _NEVER
    """When the latest call left, or its slot was taken."""
    not_before: float = _NEVER
    """The end of the wait that a refusal imposes on all calls."""
    extra_margin: float = 0.0
    """What was learned, added to the first margin of every consumer; less than 0 if a smaller one is enough."""
    margin_raised_at: float = _NEVER
    """When the margin was last raised."""
    issued: int = 0
    """How many tickets have been drawn."""
    served: int = 0
    """How many tickets have been used or passed over."""
    slowest: float = 0.0
    """The longest period among the holders of tickets."""
    previous: float = _NEVER
    """When the call before the latest one left."""
    at_once: float = _NEVER
    """The slot that was taken at once after a refusal; infinite if the next one to be taken is that."""
    unhurried: int = 0
    """For how many refusals the next call waits for an interval."""
    accepted: int = 0
    """How many calls were accepted since the latest refusal."""
    refused_margin: float = 0.0
    """The margin at which a call was last refused."""
    congestion: float = 0.0
    """What is added because other programs use the same account."""

    def margin(self, settings: PaceSettings) -> float:
        learned = max(settings.least_margin, min(settings.first_margin + self.extra_margin, settings.most_margin))
        return min(learned + self.congestion, settings.most_wait)

    def interval(self, settings: PaceSettings) -> float:
        return settings.period + self.margin(settings)

    def opens(self, settings: PaceSettings) -> float:
        """Return when the next slot opens."""
        return max(self.latest + self.interval(settings), self.not_before)

    def slot_time(self, ticket: int, settings: PaceSettings) -> float:
        """Return when the slot of a ticket opens if the tickets ahead are used as early as possible."""
        return self.opens(settings) + (ticket - self.served) * self._per_ticket(settings)

    def turn_of(self, ticket: int, settings: PaceSettings) -> float:
        """Return when a ticket may be used although those ahead were not, since their processes may have ended."""
        if (ahead := ticket - self.served) <= 0:
            return self.opens(settings)
        per_ticket = self._per_ticket(settings)
        opens_ahead = max(self.latest + per_ticket, self.not_before)
        return opens_ahead + ahead * min(LIMITS.ticket_patience_seconds, per_ticket)

    def _per_ticket(self, settings: PaceSettings) -> float:
        return max(self.slowest, settings.period) + self.margin(settings)

    def clamp_to(self, now: float, settings: PaceSettings) -> None:
        """Bring future moments close to now, so that a clock that was set back blocks no call.

        Only a slot that is about to open and a wait that the vendor asked for may lie in the future.
        """
        # The slot may have been taken by a consumer with a longer lead time than this one's.
        self.latest = min(self.latest, now + LIMITS.lead_seconds)
        self.previous = min(self.previous, self.latest)
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
        if self.at_once == math.inf:
            self.at_once = now
        self.previous, self.latest = self.latest, now
        return Slot(now)

    def lead_time(self, settings: PaceSettings) -> float:
        """Return how many seconds before it opens a slot may be taken, so that the way to the store costs no time."""
        return min(LIMITS.lead_seconds, self.interval(settings) * LIMITS.lead_share)

    def take_slot(self, ticket: int, now: float, settings: PaceSettings) -> Slot | None:
        """Take the slot of a ticket if it opens about now; unused tickets ahead of it are passed over."""
        opens = self.turn_of(ticket, settings)
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

    def is_learned_from(self, slot: Slot) -> bool:
        """Return whether the call of a slot left after the margin was last raised."""
        return slot > self.margin_raised_at

    def accept(self, settings: PaceSettings, calls: int = 1) -> None:
        """Lower the margin for accepted calls that were learned from."""
        self.accepted += calls
        learned = max(settings.least_margin, (settings.first_margin + self.extra_margin) * narrowing(calls))
        self.extra_margin = learned - settings.first_margin
        if self.congestion:
            rest = self.congestion * (1 - LIMITS.congestion_decrease_share) ** calls
            self.congestion = rest if rest > LIMITS.least_congestion_seconds else 0.0

    def refuse(self, slot: Slot, retry_after: float | None, now: float, settings: PaceSettings) -> None:
        if self.is_learned_from(slot):
            self._raise_margin(settings)
            self.margin_raised_at = now
        if slot == self.at_once:
            self.unhurried = LIMITS.refusals_without_retry
        elif self.unhurried:
            self.unhurried -= 1
        requested = min(retry_after or 0.0, settings.most_wait)
        if slot == self.latest and slot != self.at_once and not requested and not self.unhurried:
            # The limiter has been idle for a period since the call before.
            self.latest, self.at_once = self.previous, math.inf
            self.not_before = max(self.not_before, now)
        else:
            self.not_before = max(self.not_before, now + max(requested, self.interval(settings)))

    def _raise_margin(self, settings: PaceSettings) -> None:
        margin = self.refused_margin = self.margin(settings)
        least = LIMITS.first_margin_share * settings.period
        largest = max(settings.first_margin, LIMITS.largest_margin_share * settings.period)
        is_no_jitter = settings.first_margin + self.extra_margin >= largest or not self.accepted
        if is_no_jitter and self.margin_raised_at != _NEVER:
            # Doubles the margin.
            self.congestion = min(self.congestion + max(margin, least), settings.most_wait)
        elif not self.is_bounded(settings):
            raised = max(settings.first_margin + self.extra_margin, least) * widening(self.accepted)
            self.extra_margin = min(raised, largest, settings.most_wait) - settings.first_margin
        self.accepted = 0

    def is_bounded(self, settings: PaceSettings) -> bool:
        """Return whether the times of answers show that a smaller margin is enough than was learned from refusals."""
        return settings.most_margin < settings.first_margin + self.extra_margin


class LearningPace:
    """What paces have in common: the settings of a consumer, with the bound that its answers show."""

    def __init__(self, settings: PaceSettings) -> None:
        self._settings = settings
        self._answers = AnswerTimes()

    def _answered(self, seconds: float | None) -> None:
        """Learn from the time that an accepted call took, if it is known."""
        if seconds is not None:
            self._answers.add(seconds)
            self._bound()

    def _settings_of_refused(self, bucket: Bucket, slot: Slot) -> PaceSettings:
        """Return the settings that a refused call kept to, and widen the bound for the next ones if it kept to that."""
        settings = self._settings
        if bucket.is_learned_from(slot) and bucket.is_bounded(settings):
            self._answers.widen()
            self._bound()
        return settings

    def _learned_in(self, bucket: Bucket) -> Learned:
        return Learned(
            margin=bucket.margin(self._settings), refused=bucket.refused_margin, deviation=self._answers.deviation
        )

    def _bound(self) -> None:
        bound, settings = self._answers.most_margin, self._settings
        if bound != settings.most_margin:
            self._settings = PaceSettings(
                settings.period, settings.first_margin, settings.least_margin, settings.most_wait, bound
            )
