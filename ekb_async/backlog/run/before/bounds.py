"""How far a run goes: how many billed calls it may send, and until when.

A call takes a place before it is queued, and keeps it: for its attempt, or if that was refused for its rate and not
billed, for the next. Each further attempt that may be billed needs a place of its own. When all calls with a place have
ended and none is left, the places are used up. So a run sends exactly as many as it may, if there are enough calls,
however many are in flight and whatever is repeated.

At the moment `until` the run ends: calls that were not sent are taken back, and nothing more is claimed. When only the
places are used up, free calls go on. If the ledger is asked first, it is still asked for all calls then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, Protocol

from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.errors import ConfigError, EkbError

Stopped = Literal["", "max_calls", "until"]


class BoundReachedError(EkbError):
    """Raised when a call must not be sent any more in this run. It never leaves this package."""


class Countable(Protocol):
    """A billed call; `checks` is how many of its attempts were billed or may have been."""

    @property
    def checks(self) -> int: ...


class Bounds:
    """The bounds of one run over all its tenants; without any bound, nothing is ever refused."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_calls: int | None = None,
        until: datetime | None = None,
        asks_ledger: bool = False,
    ) -> None:
        self.stopped: Stopped = ""
        """The bound that was reached first, "" for none."""
        self.held = 0
        """The calls that stay claimed until the run ends, so that they are not claimed again and again."""
        self.asks_ledger = asks_ledger
        """Whether the ledger is asked before a billed call is made."""
        self.on_stop: Callable[[], None] = lambda: None
        """Called when a bound is reached."""
        self._clock = clock
        self._most = _checked_most(max_calls)
        self._until = _checked_until(until)
        self._ended = 0
        self._places: dict[Countable, int] = {}
        # One place more when they are used up: each call that waits takes it, is refused and passes it on.
        self._free = None if self._most is None else asyncio.Semaphore(max(1, self._most))
        self._late = asyncio.Event()

    @property
    def exist(self) -> bool:
        """Whether there is any bound."""
        return self._most is not None or self._until is not None

    def is_over(self, kind: str) -> bool:
        """Return whether no more calls of a kind are claimed."""
        return self._is_too_late() or (self.stopped == "max_calls" and kind in PAID and not self.asks_ledger)

    def open(self, kinds: Iterable[str]) -> list[str]:
        """Return those of the kinds of which calls are claimed."""
        return [kind for kind in kinds if not self.is_over(kind)]

    @property
    def holds(self) -> bool:
        """Whether a call that is refused stays claimed, because calls of its kind are still claimed."""
        return self.asks_ledger and not self._is_late

    async def admit(self, call: Countable) -> None:
        """Wait for a place for a call. Raises `BoundReachedError` if it cannot be sent in this run."""
        self.check_time()
        if self._free is None:
            return
        await self._free.acquire()
        if self._is_late or self._is_used_up:
            self._free.release()
            if not self._is_late:
                self._stop("max_calls")
            raise BoundReachedError
        self._places[call] = 1

    async def check(self, call: Countable) -> None:
        """Take a further place for the next attempt of an admitted call if it needs one.

        Raises `BoundReachedError` if the attempt must not be sent.
        """
        self.check_time()
        if self._free is None or call.checks < self._places[call]:
            return
        if self._free.locked():
            raise BoundReachedError
        await self._free.acquire()
        self._places[call] += 1

    def check_time(self) -> None:
        """Raise `BoundReachedError` if it is too late to send a call."""
        if self._is_too_late():
            raise BoundReachedError

    def release(self, call: Countable) -> None:
        """Release the places of a call that has ended, except those of attempts that may be billed."""
        if self._free is None or (places := self._places.pop(call, None)) is None:
            return
        self._ended += call.checks
        for _ in range(places - call.checks):
            self._free.release()
        if self._is_used_up:
            self._free.release()

    async def watch(self) -> None:
        """Return at the moment `until`, when the bound is reached, or at once if there is none."""
        while self._until is not None and not self._is_too_late():
            with contextlib.suppress(TimeoutError):
                # The clock may be set, and it goes on while the machine sleeps.
                async with asyncio.timeout(min(self._until - self._clock(), LIMITS.clock_check_seconds)):
                    await self._late.wait()

    @property
    def _is_used_up(self) -> bool:
        return self._most is not None and self._ended >= self._most

    def _is_too_late(self) -> bool:
        if not self._is_late and self._until is not None and self._clock() >= self._until:
            self._late.set()
            if self._free is not None:
                self._free.release()
            self._stop("until")
        return self._is_late

    @property
    def _is_late(self) -> bool:
        return self._late.is_set()

    def _stop(self, bound: Stopped) -> None:
        # `on_stop` may be needed again: more kinds are over when it is late.
        if not self.stopped or bound == "until":
            self.stopped = self.stopped or bound
            # Later, because the attempt that is refused here must not be cancelled as well.
            asyncio.get_running_loop().call_soon(self.on_stop)


def _checked_most(max_calls: int | None) -> int | None:
    if max_calls is None:
        return None
    if isinstance(max_calls, bool) or not isinstance(max_calls, int) or max_calls < 0:
        raise ConfigError("max_calls must be a whole number from 0, or None for any number")
    return max_calls


def _checked_until(until: datetime | None) -> float | None:
    if until is None:
        return None
    if not isinstance(until, datetime) or until.utcoffset() is None:
        raise ConfigError("until must be a datetime with a time zone, or None")
    return until.timestamp()
