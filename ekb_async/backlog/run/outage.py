"""Distinguishes an outage from rows that fail, and waits for its end.

A call that never reached the vendor says nothing about its row, unless the row's own file cannot be sent. A call that
the vendor's servers failed to process or to answer may or may not be the fault of its row: it is postponed, and several
in a row are an outage. Then calls of that kind pause, a little longer each time, and single calls probe for the end of
the outage; otherwise one unanswered call after another might be billed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum

from ekb_async.backlog.run.limits import LIMITS
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


class Fault(enum.Enum):
    """What the failure of a call means for other calls."""

    EVERY_CALL = enum.auto()
    """Every further call would fail with the same error."""
    UNSENT = enum.auto()
    """The call did not reach the vendor, for a reason unrelated to its row."""
    SERVER = enum.auto()
    """The vendor's servers failed, perhaps because of the row."""
    ROW = enum.auto()
    """The row is at fault; other calls are not affected."""


def fault_of(error: EkbError) -> Fault:
    """Return what an error means for other calls. Only this function decides whether a failure is the row's own."""
    if error.for_all or isinstance(error, AuthError | PermissionDeniedError | SessionClosedError):
        return Fault.EVERY_CALL
    if error.of_file:
        return Fault.ROW
    if error.preliminary:
        return _fault_before_sending(error)
    if isinstance(error, EkbConnectionError | EkbTimeoutError) and not error.sent:
        return Fault.UNSENT
    # `ProviderError` is not a server failure here: the vendor also returns it for a file that shows no invoice.
    if isinstance(error, ServerError | OutcomeUnknownError) or answer_lost(error):
        return Fault.SERVER
    return Fault.ROW


def _fault_before_sending(error: EkbError) -> Fault:
    """Return what the failure of a preliminary call means, such as one for a token or for the row's own file."""
    if getattr(error, "endpoint", "") not in _ABOUT_FILES or isinstance(error, ThrottledError):
        return Fault.UNSENT
    if isinstance(error, ServerError | ResponseError):
        return Fault.SERVER
    return Fault.ROW if isinstance(error, ApiError) else Fault.UNSENT


class Outage:
    """Detects an outage of one kind of call, and paces the probes until it ends."""

    def __init__(self, timing: BacklogTiming) -> None:
        self._timing = timing
        self.text = ""
        """The error behind the present pause, "" while there is none."""
        self.answers = 0
        """The number of calls that were answered so far."""
        self._loop = asyncio.get_running_loop()
        self._failures_in_a_row = 0
        self._since: float | None = None
        self._pause = 0.0
        self._resume_at = 0.0
        self._resumed = asyncio.Event()
        self._stopped = False

    @property
    def is_on(self) -> bool:
        """Whether there is an outage, so that only single calls are made as probes."""
        return self._since is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether the outage has lasted too long to keep waiting."""
        return self._since is not None and self._loop.time() - self._since > self._timing.hopeless_after

    def note(self, error: EkbError) -> bool:
        """Count a failed request; return whether there is an outage now, for which calls pause."""
        self._failures_in_a_row += 1
        if (
            fault_of(error) is not Fault.UNSENT
            and self._failures_in_a_row < LIMITS.failures_per_outage
            and not self.is_on
        ):
            return False
        now = self._loop.time()
        self._since = now if self._since is None else self._since
        if now >= self._resume_at and not self._stopped:
            self._pause = min(2 * self._pause or self._timing.first_pause, self._timing.longest_pause)
            self._resume_at = now + self._pause
            self._resumed.clear()
            self.text = redact(str(error))
            log_lines.backlog.warning("calls pause for %g s: %s", self._pause, OneLine(error))
        return True

    def end(self) -> None:
        """Count an answered call, and end an outage."""
        self.answers += 1
        self._failures_in_a_row = 0
        if self._since is not None:
            log_lines.backlog.info("calls go on after %.0f s", self._loop.time() - self._since)
            self._since = None
            self._pause = self._resume_at = 0.0
            self.text = ""
            self._resumed.set()

    def stop(self) -> None:
        """End the present pause and make no more of them."""
        self._stopped = True
        self._resume_at = 0.0
        self._resumed.set()

    async def wait(self) -> None:
        """Wait until the present pause is over."""
        while (left := self._resume_at - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._resumed.wait()
