"""The vendor's wall clock, derived from the clock of the event loop.

All waits and durations in the package use the event loop's clock (`loop.time()`, `asyncio.sleep`, `asyncio.timeout`),
so a loop with virtual time runs through a day in seconds. Only the vendor uses wall-clock times: when a token expires,
`Expires=` in a URL. `VendorClock` maps the loop's clock to the vendor's wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from ekb_async.protocol.limits import LIMITS


class VendorClock:
    """The vendor's wall clock in epoch seconds, corrected by the `Date` header of its replies.

    The header has whole seconds and ages in transit, so this machine's clock is trusted until the difference exceeds
    what that explains. `loop_time` returns the event loop's time in seconds.
    """

    def __init__(self, loop_time: Callable[[], float]) -> None:
        self._loop_time = loop_time
        self._offset = time.time() - loop_time()
        self._seen = ""

    def now(self) -> float:
        """Return the vendor's time in epoch seconds."""
        return self._loop_time() + self._offset

    def observe(self, date_header: str) -> None:
        """Correct the clock by the `Date` header of a reply that has just arrived; ignore an unreadable one."""
        if not date_header or date_header == self._seen:
            return
        self._seen = date_header
        moment = http_date(date_header)
        if moment is None:
            return
        # The header is truncated to whole seconds, so half a second more is the best estimate.
        ahead = moment + 0.5 - self.now()
        if abs(ahead) > LIMITS.clock_tolerance_seconds:
            self._offset += ahead


def http_date(text: str) -> float | None:
    """Return an HTTP date as epoch seconds, read as UTC if it names no zone; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
