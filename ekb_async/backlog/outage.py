"""Telling an outage from rows that fail, and waiting for its end.

A call that never reached the vendor says nothing about its row, and many calls in a row that the vendor's servers could
not carry out do not either. Such rows stay pending while the run pauses, a little longer each time. A vendor that was
never reached in this run is taken for a wrong address.
"""

from __future__ import annotations

import asyncio
import contextlib

from ekb_async.errors import EkbConnectionError, EkbError, ServerError

_LONGEST_PAUSE = 60.0
_HOPELESS_AFTER = 1800.0  # seconds without any answer
_SERVERS_FAIL = 5


class Outage:
    """How the vendor can be reached; at first it is not known that it can."""

    def __init__(self) -> None:
        self.text = ""
        """Why nothing goes on, "" while it does."""
        self._loop = asyncio.get_running_loop()
        self._reached = False
        self._failed_in_a_row = 0
        self._since: float | None = None
        self._pause = 0.0
        self._resume = 0.0
        self._over = asyncio.Event()

    def is_behind(self, error: EkbError) -> bool:
        """Whether an outage explains the error of a call."""
        if isinstance(error, ServerError):
            self._failed_in_a_row += 1
            return self._reached and self._failed_in_a_row >= _SERVERS_FAIL
        return isinstance(error, EkbConnectionError) and not error.sent

    def begin(self, error: EkbError) -> bool:
        """Makes a pause, unless one is being made. False if waiting is of no use."""
        now = self._loop.time()
        if not self._reached:
            return False
        if now < self._resume:
            return True
        self._since = now if self._since is None else self._since
        if now - self._since > _HOPELESS_AFTER:
            return False
        self._pause = min(2 * self._pause or 1.0, _LONGEST_PAUSE)
        self._resume = now + self._pause
        self._over.clear()
        self.text = str(error)
        return True

    def end(self) -> None:
        """The vendor has answered."""
        self._reached = True
        self._failed_in_a_row = 0
        self._since = None
        self._pause = 0.0
        self.text = ""
        self.wait_no_more()

    def wait_no_more(self) -> None:
        """Ends the pause."""
        self._resume = 0.0
        self._over.set()

    async def over(self) -> None:
        """Waits until it is time to try again."""
        while (left := self._resume - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), left)
