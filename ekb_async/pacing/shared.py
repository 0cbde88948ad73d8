"""The pace that several processes keep together, wherever its buckets are stored.

A store does one thing: it applies a rule to a bucket so that no other process changes the bucket meanwhile, and gives
the rule the store's own time. Everything else is here. The changes of a pace go to the store one after another, in the
order of their requests; those that arrive while one is under way go together with the next. Waiting is done here as
well, between two requests, and never while the store holds a lock or a transaction.

Events that change the bucket (a late start, a refusal) are noted without waiting. If such a note cannot be saved, a
warning is logged and work goes on, since the vendor refuses one call at worst; the next claim meets the same error and
raises it.

A process may be stopped for seconds at any point. When it resumes, the slot that it finds is no longer the one that
other processes count with. So a slot that took longer than an interval to arrive is given back and claimed again, once
only: if the second one takes as long, the store is slow, and waiting for a quicker answer would never end. For the same
reason a slot is checked again right before its call leaves (`expired`).
"""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from ekb_async.aio.batcher import Batcher
from ekb_async.errors import SessionClosedError
from ekb_async.pacing.limits import LIMITS
from ekb_async.pacing.rule import Bucket, Learned, LearningPace, PaceSettings, Slot

T = TypeVar("T")

_log = logging.getLogger("ekb_async.pacing")


class Reading(NamedTuple):
    """A store's time in seconds, and when it was requested on the loop's clock, which is no later than the reading."""

    now: float = 0.0
    requested_at: float = 0.0

    def at(self, moment: float) -> float:
        """Return the store's time at a moment of the loop, or slightly more."""
        return self.now + moment - self.requested_at


Rule = Callable[[Bucket, Reading], T]


class PaceStore(Protocol):
    """A store of buckets."""

    async def change(self, key: str, rule: Rule[T]) -> T:
        """Apply the rule to the bucket of this key and save the bucket, in one step. Return what the rule returns.

        The rule may be applied several times before its change is saved, each time to a bucket as it was found.
        Raises `EkbError` if the bucket cannot be read or written.
        """
        ...

    async def close(self) -> None: ...


class SharedPacer(abc.ABC):
    """A pacer with one store for all its paces: opened for the first change, closed with the last pace."""

    def __init__(self) -> None:
        self._paces = 0
        self._store: PaceStore | None = None

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> JoinedPace:
        """Return a pace on the bucket of this key; the rate is in starts per second, times are in seconds.

        It keeps the store open until it is closed.
        """
        self._paces += 1
        settings = PaceSettings.of(rate, margin, most_wait, least_share=LIMITS.least_shared_margin_share)
        return JoinedPace(self, key, settings)

    @abc.abstractmethod
    def _open(self) -> PaceStore:
        """Return a store, without waiting for anything."""

    # For its paces

    async def change(self, key: str, rule: Rule[T]) -> T:
        if self._store is None:
            self._store = self._open()
        return await self._store.change(key, rule)

    async def release(self) -> None:
        self._paces -= 1
        if not self._paces and self._store is not None:
            store, self._store = self._store, None
            await store.close()


class JoinedPace(LearningPace):
    """Slots of one bucket in a store. Its estimates use the bucket and the time of the last answer."""

    def __init__(self, pacer: SharedPacer, key: str, settings: PaceSettings) -> None:
        self._pacer = pacer
        self._key = key
        super().__init__(settings)
        self._accepted = 0
        self._now = asyncio.get_running_loop().time
        self._seen = Bucket()
        self._reading = Reading()
        self._answered_at = 0.0
        self._claim: _Claim | None = None
        self._changes = Batcher[_Claim | _Note, None]("pace", self._apply, size=LIMITS.changes_together, in_flight=1)
        self._unsaved: set[asyncio.Future[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        settings = self._settings
        return f"<JoinedPace: one start in {settings.period:g} s + {self._seen.margin(settings):g} s, {self._pacer!r}>"

    @property
    def interval(self) -> float:
        waiting = self._seen.issued - self._seen.served
        sharing = waiting if self._claim is not None else waiting + 1
        return self._seen.interval(self._settings) * max(1, sharing)

    def wait(self) -> float:
        claim = self._claim
        due = claim.state.due if claim is not None else self._seen.slot_time(self._seen.issued, self._settings)
        return max(0.0, due - self._store_time())

    def unanswered(self) -> float:
        claim = self._claim
        return self._now() - claim.queued_at if claim is not None and not claim.answer.done() else 0.0

    def try_claim(self) -> None:
        """Return None: a slot is only taken in the store."""

    async def claim(self) -> Slot:
        claim = self._claim = _Claim(self._settings)
        try:
            while True:
                slot = await self._request(claim)
                if slot is None:
                    # A slot ahead may have been given back, or the margin may have shrunk.
                    longest_pause = max(LIMITS.recheck_seconds, self._seen.interval(self._settings))
                    lead = self._seen.lead_time(self._settings)
                    await asyncio.sleep(min(longest_pause, claim.state.turn - lead - self._store_time()))
                elif claim.repeated or self._now() - claim.state.requested_at <= self._seen.interval(self._settings):
                    return slot
                else:
                    claim.repeated = True
        except asyncio.CancelledError:
            self._note(claim.withdraw)
            raise
        finally:
            self._claim = None

    def seconds_until(self, slot: Slot) -> float:
        # The store read its clock before its answer arrived, so the result is rather too long than too short.
        return slot - self._reading.now - (self._now() - self._answered_at)

    def expired(self, slot: Slot) -> bool:
        # Other processes take the next slot a little ahead, and a noted late start takes a moment to reach them.
        left = self._seen.interval(self._settings) - 2 * self._seen.lead_time(self._settings)
        return self._store_time() - slot > max(left, LIMITS.tolerated_delay_seconds)

    def mark_started(self, slot: Slot) -> None:
        started = self._now()
        if self._seen.is_late(slot, self._reading.at(started), self._settings):
            self._note(lambda bucket, reading: bucket.record_late_start(reading.at(started)))

    def give_back(self, slot: Slot) -> None:
        self._note(lambda bucket, reading: bucket.give_back(slot, reading.now, self._settings))

    def accepted(self, slot: Slot, seconds: float | None = None) -> None:
        # It goes to the store with the next claim, since a statement for each call would be too many.
        self._accepted += self._seen.is_learned_from(slot)
        self._answered(seconds)

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        refused_at, settings = self._now(), self._settings_of_refused(self._seen, slot)
        self._note(lambda bucket, reading: bucket.refuse(slot, retry_after, reading.at(refused_at), settings))

    def learned(self) -> Learned:
        return self._learned_in(self._seen)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._pacer.release)
            stack.push_async_callback(self._changes.close, 0)
            if self._unsaved:
                await asyncio.wait(self._unsaved, timeout=LIMITS.close_seconds)

    def _store_time(self) -> float:
        return self._reading.at(self._now())

    def _note(self, rule: Rule[None]) -> None:
        if self._closed:
            return
        # Estimates need not wait for the store.
        rule(self._seen, Reading(self._store_time(), self._now()))
        self._submit(_Note(rule)).add_done_callback(_warn_if_lost)

    async def _request(self, claim: _Claim) -> Slot | None:
        if self._closed:
            raise SessionClosedError("the session is closed")
        claim.queued_at = self._now()
        claim.answer = self._submit(claim)
        await claim.answer
        return claim.state.slot

    def _submit(self, change: _Claim | _Note) -> asyncio.Future[None]:
        saved = self._changes.load(change)
        self._unsaved.add(saved)
        saved.add_done_callback(self._unsaved.discard)
        return saved

    async def _apply(self, changes: Sequence[_Claim | _Note]) -> dict[_Claim | _Note, None]:
        """Make the changes in their order, as one change of the bucket in the store."""
        accepted, self._accepted = self._accepted, 0

        def rule(bucket: Bucket, reading: Reading) -> tuple[list[Any], Bucket, Reading]:
            bucket.clamp_to(reading.now, self._settings)
            if accepted:
                bucket.accept(self._settings, accepted)
            return [change.rule(bucket, reading) for change in changes], bucket, reading

        results, self._seen, self._reading = await self._pacer.change(self._key, rule)
        self._answered_at = self._now()
        for change, result in zip(changes, results, strict=True):
            if isinstance(change, _Claim):
                change.state = result
        return dict.fromkeys(changes)


class _Note(msgspec.Struct, eq=False):
    """A change of the bucket that no caller waits for. Instances are compared by identity, as claims are."""

    rule: Rule[None]


def _warn_if_lost(note: asyncio.Future[None]) -> None:
    if not note.cancelled() and (error := note.exception()) is not None:
        _log.warning("a note on the pace was lost: %s", error)


class _ClaimState(NamedTuple):
    """How far a claim has come after one visit to the bucket."""

    ticket: int | None = None
    slot: Slot | None = None
    due: float = 0.0
    """When the slot opens, on the store's clock."""
    turn: float = 0.0
    """When it may be taken if those ahead are not, on the store's clock."""
    requested_at: float = 0.0
    """When the store was asked for the bucket, on the loop's clock."""


class _Claim:
    """One claim of a slot. Its state is that of its last visit to the bucket, once the store has saved that."""

    def __init__(self, settings: PaceSettings) -> None:
        self._settings = settings
        self.state = _ClaimState()
        self.answer: asyncio.Future[None]
        """Done when the store has answered the latest request."""
        self.queued_at = 0.0
        """When that request was queued, on the loop's clock."""
        self.repeated = False

    def rule(self, bucket: Bucket, reading: Reading) -> _ClaimState:
        """Draw a ticket if there is none yet, and take the slot if it opens about now."""
        state, settings = self.state, self._settings
        ticket = state.ticket
        if state.slot is not None:
            bucket.give_back(state.slot, reading.now, settings)
            ticket = None
        ticket = bucket.ensure_ticket(ticket, settings)
        slot = bucket.take_slot(ticket, reading.now, settings)
        due, turn = bucket.slot_time(ticket, settings), bucket.turn_of(ticket, settings)
        return _ClaimState(ticket, slot, due, turn, reading.requested_at)

    def withdraw(self, bucket: Bucket, reading: Reading) -> None:
        """Return the slot or the ticket of a cancelled claim."""
        state = self.state
        if state.slot is not None:
            bucket.give_back(state.slot, reading.now, self._settings)
        elif state.ticket is not None:
            bucket.discard_ticket(state.ticket)
