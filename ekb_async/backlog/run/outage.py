"""Pauses while calls cannot be made, and the outages that cause them.

A call that never reached the vendor says nothing about its row, unless the row's own file cannot be sent. A call that
the vendor's servers failed to process or to answer may or may not be the fault of its row: it is postponed, and several
tries in a row are an outage, those included after which the session would try again. Then calls of that kind pause, a
little longer each time, the session's further tries are not made, and single calls with one try each probe for the end
of the outage; otherwise one unanswered try after another might be billed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from ekb_async.backlog.run.failures import Fault
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.shown.tenants import AutoPause, moment_at
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.errors import ApiError, EkbError, ServerError
from ekb_async.i18n import message
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import redact


class Pause:
    """The pauses of some calls, each twice as long as the one before, until a call is answered. Times in seconds."""

    def __init__(
        self,
        first: float,
        longest: float,
        log: logging.Logger,
        calls: str = message("calls"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.text = ""
        """The error behind the present pause, "" while there is none."""
        self._clock = clock
        self._began_at = self._next_try = 0.0
        self._first, self._longest = first, longest
        self._log = log
        self._calls = calls
        self._now = asyncio.get_running_loop().time
        self._since: float | None = None
        self._seconds = 0.0
        self._until = 0.0
        self._failures_in_a_row = 0

    @property
    def is_on(self) -> bool:
        """Whether no call was answered since the first pause, so that only single calls are made as probes."""
        return self._since is not None

    @property
    def left(self) -> float:
        """The seconds until the present pause is over; 0 or less if it is."""
        return self._until - self._now()

    def shown(self, tenant: str, kind: str) -> AutoPause | None:
        """Return the pause as it is shown, None if there is none."""
        if not self.is_on:
            return None
        since, next_try = moment_at(self._began_at), moment_at(self._next_try)
        return AutoPause(tenant=tenant, kind=kind, since=since, next_try=next_try, reason=self.text)

    def note_failure(self, error: EkbError, fault: Fault) -> bool:
        """Count a failed try; return whether there is an outage now, for which calls pause."""
        self._failures_in_a_row += 1
        is_rare = fault is not Fault.UNSENT and self._failures_in_a_row < LIMITS.failures_per_outage
        if is_rare and not self.is_on:
            return False
        self.begin(error)
        return True

    def begin(self, error: EkbError) -> None:
        """Start the next pause; errors of calls that were made together cause one."""
        now = self._now()
        if self._since is None:
            self._since, self._began_at = now, self._clock()
        if now >= self._until:
            self._seconds = min(2 * self._seconds or self._first, self._longest)
            self._until = now + self._seconds
            self._next_try = self._clock() + self._seconds
            self.text = redact(str(error))
            self._log.warning("%s pause for %g s: %s", self._calls, self._seconds, OneLine(error))

    def end(self) -> None:
        """End the pauses, because a call was answered."""
        self._failures_in_a_row = 0
        if self._since is not None:
            self._log.info("%s go on after %.0f s", self._calls, self._now() - self._since)
            self._since = None
            self._seconds = self._until = 0.0
            self.text = ""


def shows_working_servers(error: EkbError, fault: Fault | None) -> bool:
    """Return whether the vendor's servers have answered: they refused a row."""
    return isinstance(error, ApiError) and not isinstance(error, ServerError) and fault in {Fault.ROW, Fault.LATER}


class Outage(Pause):
    """Detects an outage of one kind of call in a run, and paces the probes until it ends."""

    def __init__(self, timing: BacklogTiming, clock: Callable[[], float] = time.time) -> None:
        super().__init__(timing.first_pause, timing.longest_pause, log_lines.backlog, clock=clock)
        self.answers = 0
        """The number of calls that were answered so far."""
        self._hopeless_after = timing.hopeless_after
        self._is_of_look_ups = False
        self._resumed = asyncio.Event()
        self._stopped = False

    @property
    def is_hopeless(self) -> bool:
        """Whether the outage has lasted too long to keep waiting."""
        return self._since is not None and self._now() - self._since > self._hopeless_after

    def note(self, error: EkbError, fault: Fault, *, of_look_up: bool = False) -> bool:
        """Count a failed try or request; return whether there is an outage now, for which calls pause.

        `of_look_up` says that a look-up failed that comes before a call.
        """
        self._is_of_look_ups = of_look_up
        return self.note_failure(error, fault)

    def begin(self, error: EkbError) -> None:
        """Start the next pause, unless no more of them are made."""
        if not self._stopped:
            self._resumed.clear()
            super().begin(error)

    def end(self) -> None:
        """Count an answered call, and end an outage."""
        self._end()
        self.answers += 1

    def end_of_look_ups(self) -> None:
        """End an outage of look-ups that come before calls, because one was answered."""
        if self._is_of_look_ups:
            self._end()

    def _end(self) -> None:
        super().end()
        self._resumed.set()

    def stop(self) -> None:
        """End the present pause and make no more of them."""
        self._stopped = True
        self.interrupt()

    def interrupt(self) -> None:
        """End the present pause."""
        self._until = 0.0
        self._resumed.set()

    async def wait(self) -> None:
        """Wait until the present pause is over."""
        while (left := self.left) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._resumed.wait()
