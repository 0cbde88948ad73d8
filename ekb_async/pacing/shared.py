"""The pace that several processes keep together, wherever its buckets lie.

A store does one thing: it applies a rule to a bucket so that nobody else changes the bucket meanwhile, and gives the
rule the time, which is the store's own. All else is here. A pacer's changes go to the store one after another, in the
order in which they were asked for, and what has gathered while one is under way goes with the next. Waiting is done
here as well, between two looks at the bucket, and never while the store holds something open.

What a pacer is told (a late start, a refusal) is noted without waiting. If such a note cannot be kept, a warning is
logged and work goes on, for the vendor refuses one call at worst; the next claim meets the same trouble and raises.

A process may be stopped for seconds at any point. A slot that it finds when it wakes up is no longer what others count
with, so a slot that took longer than an interval to get here is given back and claimed anew. Once only: if it took
that long again, the store is slow, and waiting for a quicker answer would be waiting for ever. For the same reason a
slot is looked at again right before its call leaves (`expired`).
"""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ekb_async.aio.tasks import TaskScope
from ekb_async.errors import SessionClosedError
from ekb_async.pacing.rule import Bucket, PaceSettings, Slot

T = TypeVar("T")

_log = logging.getLogger("ekb_async.pacing")

_LOOK_AGAIN = 0.25
_NO_STOP = 0.05
"""Seconds that a start may be late without anything having held it up."""
_CLOSING = 10.0
"""Seconds that closing waits for what has been told to be kept."""


class Reading(NamedTuple):
    """A store's time in seconds, and when it was asked for on the loop's clock, which is no later than it was read."""

    now: float = 0.0
    asked: float = 0.0

    def at(self, moment: float) -> float:
        """The store's time at a moment of the loop, or a little later than that."""
        return self.now + moment - self.asked


Rule = Callable[[Bucket, Reading], T]


class PaceStore(Protocol):
    """Where buckets lie."""

    async def change(self, key: str, rule: Rule[T]) -> T:
        """What the rule makes of the bucket of this key is kept, as one step. Gives what the rule returns.

        The rule may be applied several times before what it made is kept, each time to a bucket as it was found.
        Raises `EkbError` if the bucket cannot be had.
        """
        ...

    async def close(self) -> None: ...


class SharedPace(abc.ABC):
    """A home with one store for all its pacers: opened for the first change, closed with the last pacer."""

    def __init__(self) -> None:
        self._paces = 0
        self._store: PaceStore | None = None

    def pace(self, key: str, rate: float, margin: float, most_wait: float) -> JoinedPace:
        """A pacer on the bucket that all have under this key; rates in starts per second, times in seconds.

        It keeps the home open until it is closed.
        """
        self._paces += 1
        return JoinedPace(self, key, PaceSettings.of(rate, margin, most_wait))

    @abc.abstractmethod
    def _open(self) -> PaceStore:
        """A store, on which nothing has to be waited for."""

    # For its pacers

    async def change(self, key: str, rule: Rule[T]) -> T:
        if self._store is None:
            self._store = self._open()
        return await self._store.change(key, rule)

    async def release(self) -> None:
        self._paces -= 1
        if not self._paces and self._store is not None:
            store, self._store = self._store, None
            await store.close()


class JoinedPace:
    """Slots of one bucket in a store. What it knows without asking is as of its last look."""

    def __init__(self, home: SharedPace, key: str, settings: PaceSettings) -> None:
        self._home = home
        self._key = key
        self._settings = settings
        self._now = asyncio.get_running_loop().time
        self._seen = Bucket()
        self._reading = Reading()
        self._answered = 0.0
        self._claim: _Claim | None = None
        self._changes: list[_Claim | _Note] = []
        self._scope = TaskScope()
        self._worker: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        settings = self._settings
        return f"<JoinedPace: one start in {settings.period:g} s + {self._seen.margin(settings):g} s, {self._home!r}>"

    @property
    def interval(self) -> float:
        waiting = self._seen.issued - self._seen.served
        sharing = waiting if self._claim is not None else waiting + 1
        return self._seen.interval(self._settings) * max(1, sharing)

    def wait(self) -> float:
        claim = self._claim
        due = claim.due if claim is not None else self._seen.slot_time(self._seen.issued, self._settings)
        return max(0.0, due - self._store_time())

    def unanswered(self) -> float:
        claim = self._claim
        return self._now() - claim.sent if claim is not None and not claim.looked.is_set() else 0.0

    def try_claim(self) -> None:
        """Nothing is taken without a look at the store."""

    async def claim(self) -> Slot:
        claim = self._claim = _Claim(self._settings)
        try:
            while True:
                slot = await self._look(claim)
                if slot is None:
                    # A slot ahead may have been given back, or the guard have narrowed.
                    most = max(_LOOK_AGAIN, self._seen.interval(self._settings))
                    ahead = self._seen.ahead(self._settings)
                    await asyncio.sleep(min(most, claim.due - ahead - self._store_time()))
                elif claim.repeated or self._now() - claim.asked <= self._seen.interval(self._settings):
                    return slot
                else:
                    claim.repeated = True
        except asyncio.CancelledError:
            claim.over = True
            self._note(claim.leave)
            raise
        finally:
            self._claim = None

    def seconds_until(self, slot: Slot) -> float:
        # The store read its clock before its answer came, so this is rather too long than too short.
        return slot - self._reading.now - (self._now() - self._answered)

    def expired(self, slot: Slot) -> bool:
        # Others take the next slot a little ahead, and what is noted of a late start takes a moment to reach them.
        left = self._seen.interval(self._settings) - 2 * self._seen.ahead(self._settings)
        return self._store_time() - slot > max(left, _NO_STOP)

    def mark_started(self, slot: Slot) -> None:
        left = self._now()
        if self._seen.late(slot, self._reading.at(left), self._settings):
            self._note(lambda bucket, reading: bucket.start_late(reading.at(left)))

    def give_back(self, slot: Slot) -> None:
        self._note(lambda bucket, reading: bucket.give_back(slot, reading.now, self._settings))

    def accepted(self, slot: Slot) -> None:
        if self._seen.extra_margin:
            self._note(lambda bucket, _: bucket.accept(slot))

    def refused(self, slot: Slot, retry_after: float | None) -> None:
        came = self._now()
        self._note(lambda bucket, reading: bucket.refuse(slot, retry_after, reading.at(came), self._settings))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            await self._scope.finish(_CLOSING)
            for change in self._changes:
                change.failed(SessionClosedError("the session was closed"))
        finally:
            await self._home.release()

    def _store_time(self) -> float:
        return self._reading.at(self._now())

    def _note(self, rule: Rule[None]) -> None:
        if self._closed:
            return
        # Estimates need not wait for the store.
        rule(self._seen, Reading(self._store_time(), self._now()))
        self._ask(_Note(rule))

    async def _look(self, claim: _Claim) -> Slot | None:
        if self._closed:
            raise SessionClosedError("the session is closed")
        claim.looked.clear()
        claim.sent = self._now()
        self._ask(claim)
        await claim.looked.wait()
        if claim.error is not None:
            raise claim.error
        return claim.slot

    def _ask(self, change: _Claim | _Note) -> None:
        self._changes.append(change)
        if self._worker is None:
            self._worker = self._scope.start(self._work(), name=f"ekb pace {self._key}")

    async def _work(self) -> None:
        try:
            while self._changes:
                changes, self._changes = self._changes, []
                await self._apply(changes)
        finally:
            self._worker = None

    async def _apply(self, changes: Sequence[_Claim | _Note]) -> None:
        """Makes changes in their order, as one change of the bucket in the store."""

        def rule(bucket: Bucket, reading: Reading) -> tuple[list[Any], Bucket, Reading]:
            bucket.recall(reading.now, self._settings)
            return [change.rule(bucket, reading) for change in changes], bucket, reading

        try:
            results, self._seen, self._reading = await self._home.change(self._key, rule)
            self._answered = self._now()
        except asyncio.CancelledError:
            for change in changes:
                change.failed(SessionClosedError("the session was closed"))
            raise
        except Exception as error:  # noqa: BLE001 - whoever asked for a change gets it
            for change in changes:
                change.failed(error)
        else:
            for change, result in zip(changes, results, strict=True):
                change.kept(result)


class _Note:
    """Something a bucket is told, and nobody waits for."""

    def __init__(self, rule: Rule[None]) -> None:
        self.rule = rule

    def kept(self, _: None) -> None:
        """It needs no answer."""

    def failed(self, error: Exception) -> None:
        _log.warning("a note on the pace was lost: %s", error)


class _Found(NamedTuple):
    """What a look at the bucket brought a claim."""

    ticket: int | None
    slot: Slot | None
    due: float
    asked: float


class _Claim:
    """How far a claim has come. It is what its last look found, as long as nothing newer is kept in the store."""

    def __init__(self, settings: PaceSettings) -> None:
        self._settings = settings
        self._found = _Found(None, None, 0.0, 0.0)
        self.looked = asyncio.Event()
        self.sent = 0.0
        """When the latest look was asked for, on the loop's clock."""
        self.error: Exception | None = None
        self.repeated = False
        self.over = False

    @property
    def slot(self) -> Slot | None:
        return self._found.slot

    @property
    def due(self) -> float:
        """When the slot opens, on the store's clock."""
        return self._found.due

    @property
    def asked(self) -> float:
        return self._found.asked

    def rule(self, bucket: Bucket, reading: Reading) -> _Found:
        """One look: a ticket, if there is none yet, and the slot, if it is its turn."""
        if self.over:
            return self._found
        found, settings = self._found, self._settings
        ticket = found.ticket
        if found.slot is not None:
            bucket.give_back(found.slot, reading.now, settings)
            ticket = None
        ticket = bucket.queue(ticket, settings)
        slot = bucket.take_slot(ticket, reading.now, settings)
        return _Found(ticket, slot, bucket.slot_time(ticket, settings), reading.asked)

    def leave(self, bucket: Bucket, reading: Reading) -> None:
        """A claim that is over wants nothing more."""
        found = self._found
        if found.slot is not None:
            bucket.give_back(found.slot, reading.now, self._settings)
        elif found.ticket is not None:
            bucket.leave(found.ticket)

    def kept(self, found: _Found) -> None:
        self._found = found
        self.looked.set()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.looked.set()
