"""The vendor's wall clock, kept by the clock of the event loop.

Every wait and every span of the package goes through the event loop's clock (`loop.time()`, `asyncio.sleep`,
`asyncio.timeout`), so a loop with virtual time makes a day pass in seconds. Only the vendor speaks of wall-clock
moments: a token's end, `Expires=` in a URL. `VendorClock` maps the loop's clock to the vendor's wall clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

_TOLERANCE = 2.0


class VendorClock:
    """The vendor's wall clock in epoch seconds, kept right by the `Date` header of its answers.

    The header has whole seconds and ages on its way, so this machine's own clock is believed until the two are further
    apart than that explains. `loop_time` gives the event loop's time in seconds.
    """

    def __init__(self, loop_time: Callable[[], float]) -> None:
        self._loop_time = loop_time
        self._offset = time.time() - loop_time()
        self._seen = ""

    def now(self) -> float:
        """Epoch seconds at the vendor."""
        return self._loop_time() + self._offset

    def observe(self, date_header: str) -> None:
        """Takes the `Date` of an answer that came just now; an unreadable one is ignored."""
        if not date_header or date_header == self._seen:
            return
        self._seen = date_header
        moment = http_date(date_header)
        if moment is None:
            return
        # The header is cut to whole seconds: half a second later is the best guess.
        ahead = moment + 0.5 - self.now()
        if abs(ahead) > _TOLERANCE:
            self._offset += ahead


def http_date(text: str) -> float | None:
    """An HTTP date as epoch seconds, at UTC if it names no zone; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
