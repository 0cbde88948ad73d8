"""Telling an outage from rows that fail, and waiting for its end.

A call that never reached the vendor says nothing about its row, unless it is the row's own file that cannot be sent. A
call that the vendor's servers could not carry out, or did not answer, may be its row's fault or not: that one is left
for later, and many in a row are an outage. Then the kind of call pauses, a little longer each time, and tries with a
single call whether it is over: billed calls that nobody answers would be paid for one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum

from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.errors import (
    ApiError,
    AuthError,
    EkbConnectionError,
    EkbError,
    EkbTimeoutError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ResponseError,
    ServerError,
    SessionClosedError,
    ThrottledError,
)
from ekb_async.protocol import endpoints
from ekb_async.protocol.retry import answer_lost
from ekb_async.redaction import log_lines
from ekb_async.redaction.log_lines import OneLine
from ekb_async.redaction.masking import redact

_ABOUT_FILES = {endpoints.UPLOAD.path, endpoints.DOWNLOAD_URLS.path}
_IN_A_ROW = 5


class Fault(enum.Enum):
    """What a failed call says about others."""

    EVERY_CALL = enum.auto()
    """Every further call would fail with it as well."""
    UNSENT = enum.auto()
    """The vendor was not reached, or did not come to see the call, for a reason that is not its row's."""
    SERVER = enum.auto()
    """The vendor's side failed, which may or may not have to do with the row."""
    ROW = enum.auto()
    """The row is at fault, and no other."""


def fault_of(error: EkbError) -> Fault:
    """Return what an error says about other calls; this is the one place that decides if a row fails for itself."""
    if error.for_all or isinstance(error, AuthError | PermissionDeniedError | SessionClosedError):
        return Fault.EVERY_CALL
    if error.of_file:
        return Fault.ROW
    if error.preliminary:
        return _fault_before_sending(error)
    if isinstance(error, EkbConnectionError | EkbTimeoutError) and not error.sent:
        return Fault.UNSENT
    # The provider's trouble is none of these: it is also the answer for a file that shows no invoice.
    if isinstance(error, ServerError | OutcomeUnknownError) or answer_lost(error):
        return Fault.SERVER
    return Fault.ROW


def _fault_before_sending(error: EkbError) -> Fault:
    """What is said by an error of a call that had to be made first: for a token, or for the row's own file."""
    if getattr(error, "endpoint", "") not in _ABOUT_FILES or isinstance(error, ThrottledError):
        return Fault.UNSENT
    if isinstance(error, ServerError | ResponseError):
        return Fault.SERVER
    return Fault.ROW if isinstance(error, ApiError) else Fault.UNSENT


class Outage:
    """How calls of one kind fare."""

    def __init__(self, timing: BacklogTiming) -> None:
        self._timing = timing
        self.text = ""
        """Why nothing goes on, "" while it does."""
        self.answers = 0
        """How many calls were answered so far."""
        self._loop = asyncio.get_running_loop()
        self._in_a_row = 0
        self._since: float | None = None
        self._pause = 0.0
        self._resume = 0.0
        self._over = asyncio.Event()
        self._given_up = False

    @property
    def is_on(self) -> bool:
        """Whether single calls are to try if it is over."""
        return self._since is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether waiting has taken too long."""
        return self._since is not None and self._loop.time() - self._since > self._timing.hopeless_after

    def note(self, error: EkbError) -> bool:
        """Counts a request that failed; whether an outage is behind it, for which a pause is made."""
        self._in_a_row += 1
        if fault_of(error) is not Fault.UNSENT and self._in_a_row < _IN_A_ROW and not self.is_on:
            return False
        now = self._loop.time()
        self._since = now if self._since is None else self._since
        if now >= self._resume and not self._given_up:
            self._pause = min(2 * self._pause or self._timing.first_pause, self._timing.longest_pause)
            self._resume = now + self._pause
            self._over.clear()
            self.text = redact(str(error))
            log_lines.backlog.warning("calls pause for %g s: %s", self._pause, OneLine(error))
        return True

    def end(self) -> None:
        """A call was answered."""
        self.answers += 1
        self._in_a_row = 0
        if self._since is not None:
            log_lines.backlog.info("calls go on after %.0f s", self._loop.time() - self._since)
            self._since = None
            self._pause = self._resume = 0.0
            self.text = ""
            self._over.set()

    def stop(self) -> None:
        """Waits no more."""
        self._given_up = True
        self._resume = 0.0
        self._over.set()

    async def wait(self) -> None:
        """Waits until it is time to try again."""
        while (left := self._resume - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._over.wait()
