"""Detects staff IDs that the vendor refuses, so that one wrong value costs a few calls, not one for each of its rows.

Until the vendor has accepted a staff ID, only a few calls with it are in flight at a time. After as many refusals in a
row, no further call is made with it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ekb_async.backlog.run.before.people import People
from ekb_async.backlog.run.failures import Fault, fault_of
from ekb_async.backlog.run.limits import LIMITS
from ekb_async.errors import ApiError, StaffNotFoundError


class _Record:
    """The vendor's answers about one staff ID."""

    def __init__(self) -> None:
        self.accepted = False
        self.refusals = 0
        self.refused_at = 0.0
        self.error: StaffNotFoundError | None = None
        self.in_flight = 0
        self.changed = asyncio.Event()


class StaffIds:
    """The staff IDs in use, each identified by tenant and ID. A refused ID is tried again after `retry_after` seconds.

    `waiting` counts the rows that wait for a correction, by staff ID. `people` finds the IDs of people that rows name
    in another way.
    """

    def __init__(self, *, retry_after: float = math.inf) -> None:
        self.people = People(kept=retry_after)
        self.waiting: Counter[str] = Counter()
        self._retry_after = retry_after
        self._records: defaultdict[tuple[str, str], _Record] = defaultdict(_Record)

    @asynccontextmanager
    async def admission(self, tenant: str, staff_id: str) -> AsyncIterator[None]:
        """Wait until a call may be made with a staff ID, and make it inside the block.

        Raises `StaffNotFoundError` if the ID is refused.
        """
        record = self._records[tenant, staff_id]
        while (refusal := self.refusal(tenant, staff_id)) is None and (
            not record.accepted and record.in_flight >= LIMITS.refusals_per_staff_id
        ):
            record.changed.clear()
            await record.changed.wait()
        if refusal is not None:
            raise refusal.again()
        record.in_flight += 1
        try:
            yield
        finally:
            record.in_flight -= 1
            record.changed.set()

    def note(self, tenant: str, staff_id: str, error: Exception | None) -> None:
        """Note the outcome of a call; `error` is None for success."""
        record = self._records[tenant, staff_id]
        if error is None:
            record.accepted, record.refusals = True, 0
            record.changed.set()
        elif isinstance(error, StaffNotFoundError):
            record.refusals += 1
            record.refused_at, record.error = time.monotonic(), error.again()
        elif isinstance(error, ApiError) and not error.preliminary and fault_of(error, billed=True) is Fault.ROW:
            # The vendor refused something else, perhaps before it checked the ID, so refusals are not reset.
            record.accepted = True
            record.changed.set()

    def refusal(self, tenant: str, staff_id: str) -> StaffNotFoundError | None:
        """Return the error of a staff ID that is not used because of recent refusals; None if it may be used."""
        record = self._records[tenant, staff_id]
        if record.refusals < LIMITS.refusals_per_staff_id:
            return None
        if time.monotonic() - record.refused_at < self._retry_after:
            return record.error
        record.refusals = 0
        return None
