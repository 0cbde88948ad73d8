"""Checks at the tax authority that are made on another day.

The tax authority often does not know an invoice on the day of its date, and refuses to check one invoice too often in a
day. Such a call is pending until shortly after the next midnight at UTC+8, and not longer than a few days in all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date

from ekb_async.backlog.input.rows.kinds import CHECKS
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.timing import BacklogTiming
from ekb_async.backlog.store.values.calls import Call, day_of, start_of
from ekb_async.errors import ApiError, EkbError, InvoiceMismatchError, InvoiceNotFoundError
from ekb_async.protocol.replies import NOT_TODAY

_EPOCH = date(1970, 1, 1).toordinal()


class NextDay:
    """Decides which calls wait for the next day; `clock` gives the present in epoch seconds."""

    def __init__(self, timing: BacklogTiming, clock: Callable[[], float]) -> None:
        self._timing = timing
        self._clock = clock

    def due_at(self) -> float:
        """Return the moment at which a call is due that waits for the next day."""
        spread = random.uniform(0, self._timing.next_day_spread)  # noqa: S311 - no secret
        return start_of(day_of(self._clock()) + 1) + self._timing.next_day + spread

    def is_awaited_by(self, call: Call, error: EkbError) -> bool:
        """Return whether a call that was refused with this error is made again on the next day."""
        if call.kind not in CHECKS or not isinstance(error, ApiError) or error.preliminary:
            return False
        if call.waits >= LIMITS.days_waited:
            return False
        if NOT_TODAY.search(error.message or ""):
            return True
        return _is_unknown(error) and self._may_be_new(call)

    def has_spent(self, call: Call, checks: int = 1) -> bool:
        """Return whether so many checks since the call was claimed, the next one included, are too many for a day."""
        if call.kind not in CHECKS:
            return False
        # The day may have changed since the call was claimed.
        earlier = call.checks if call.checked_on == day_of(self._clock()) else 0
        return earlier + checks > LIMITS.checks_per_day

    def _may_be_new(self, call: Call) -> bool:
        """Return whether the invoice was dated today or later when it was first checked."""
        try:
            day = date.fromisoformat(call.date).toordinal() - _EPOCH
        except ValueError:
            # The check has been answered, so a date that cannot be read must not keep it from being recorded.
            return False
        return day >= day_of(self._clock()) - call.waits


def _is_unknown(error: ApiError) -> bool:
    return isinstance(error, InvoiceNotFoundError) and not isinstance(error, InvoiceMismatchError)
