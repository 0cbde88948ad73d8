"""Detects staff IDs that the vendor refuses, so that one wrong value costs a few calls, not one for each of its rows.

Until the vendor has accepted a staff ID, only a few calls with it are in flight at a time. After as many refusals in a
row, no further call is made with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.outage import Fault, fault_of
from ekb_async.errors import ApiError, EkbError, StaffNotFoundError


class _Record:
    """The vendor's answers about one staff ID."""

    def __init__(self) -> None:
        self.accepted = False
        self.refusals = 0
        self.refused_at = 0.0
        self.error: StaffNotFoundError | None = None
        self.in_flight = 0
        self.waiting_rows = 0
        self.changed = asyncio.Event()


class StaffIds:
    """The staff IDs in use, each identified by tenant and ID."""

    def __init__(self) -> None:
        self._records: defaultdict[tuple[str, str], _Record] = defaultdict(_Record)

    @asynccontextmanager
    async def admission(self, tenant: str, staff_id: str, rows: int) -> AsyncIterator[bool]:
        """Wait until a call may be made with a staff ID and yield True; yield False if the ID is refused.

        In the second case the `rows` of the call count as waiting.
        """
        record = self._records[tenant, staff_id]
        while (
            not record.accepted
            and record.refusals < LIMITS.refusals_per_staff_id
            and record.in_flight >= LIMITS.refusals_per_staff_id
        ):
            record.changed.clear()
            await record.changed.wait()
        if record.refusals >= LIMITS.refusals_per_staff_id:
            record.waiting_rows += rows
            yield False
            return
        record.in_flight += 1
        try:
            yield True
        finally:
            record.in_flight -= 1
            record.changed.set()

    def note(self, tenant: str, staff_id: str, error: EkbError | None) -> None:
        """Note the outcome of a call; `error` is None for success."""
        if error is None:
            record = self._records[tenant, staff_id]
            record.accepted, record.refusals = True, 0
            record.changed.set()
        elif isinstance(error, StaffNotFoundError):
            record = self._records[tenant, staff_id]
            record.refusals += 1
            record.refused_at, record.error = time.monotonic(), error.again()
        elif isinstance(error, ApiError) and not error.preliminary and fault_of(error) is Fault.ROW:
            # The vendor refused something else, perhaps before it checked the ID, so refusals are not reset.
            record = self._records[tenant, staff_id]
            record.accepted = True
            record.changed.set()

    def refusal(self, tenant: str, staff_id: str) -> StaffNotFoundError | None:
        """Return the error of a staff ID that is not used because of recent refusals; None if it may be used."""
        record = self._records.get((tenant, staff_id))
        if record is None or record.refusals < LIMITS.refusals_per_staff_id:
            return None
        if time.monotonic() - record.refused_at < LIMITS.staff_refusal_seconds:
            return record.error
        record.refusals = 0
        return None

    def waiting(self) -> dict[str, int]:
        """Return the number of waiting rows by staff ID."""
        found: dict[str, int] = {}
        for (_, staff_id), record in self._records.items():
            if record.waiting_rows:
                found[staff_id] = found.get(staff_id, 0) + record.waiting_rows
        return found
