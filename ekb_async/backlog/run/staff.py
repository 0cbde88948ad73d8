"""Staff IDs that the vendor does not know, so that one wrong value costs a few calls and not one for each of its rows.

As long as the vendor has answered no call with a staff ID, few are under way at a time. When it has refused the ID that
often in a row, no further call is made with it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ekb_async.backlog.run.outage import Fault, fault_of
from ekb_async.errors import ApiError, EkbError, StaffNotFoundError

_FEW = 3
_REMEMBERED = 300.0  # seconds after which a worker tries a refused ID again


class _Standing:
    """How the vendor has answered for one ID."""

    def __init__(self) -> None:
        self.accepted = False
        self.refusals = 0
        self.refused_at = 0.0
        self.error: StaffNotFoundError | None = None
        self.under_way = 0
        self.waiting_rows = 0
        self.changed = asyncio.Event()


class StaffIds:
    """How staff IDs fare, each a pair of tenant and ID."""

    def __init__(self) -> None:
        self._standings: defaultdict[tuple[str, str], _Standing] = defaultdict(_Standing)

    @asynccontextmanager
    async def admission(self, tenant: str, staff_id: str, rows: int) -> AsyncIterator[bool]:
        """Wait until a call may be made with an ID; False if none may, so that its `rows` wait."""
        standing = self._standings[tenant, staff_id]
        while not standing.accepted and standing.refusals < _FEW and standing.under_way >= _FEW:
            standing.changed.clear()
            await standing.changed.wait()
        if standing.refusals >= _FEW:
            standing.waiting_rows += rows
            yield False
            return
        standing.under_way += 1
        try:
            yield True
        finally:
            standing.under_way -= 1
            standing.changed.set()

    def note(self, tenant: str, staff_id: str, error: EkbError | None) -> None:
        """Take in how a call ended, None if well."""
        if error is None:
            standing = self._standings[tenant, staff_id]
            standing.accepted, standing.refusals = True, 0
            standing.changed.set()
        elif isinstance(error, StaffNotFoundError):
            standing = self._standings[tenant, staff_id]
            standing.refusals += 1
            standing.refused_at, standing.error = time.monotonic(), error.again()
        elif isinstance(error, ApiError) and not error.preliminary and fault_of(error) is Fault.ROW:
            # The vendor has refused something else, which need not mean that it has looked at the ID.
            standing = self._standings[tenant, staff_id]
            standing.accepted = True
            standing.changed.set()

    def refusal(self, tenant: str, staff_id: str) -> StaffNotFoundError | None:
        """Return the error of an ID that the vendor has refused so often, and lately, that no call is made with it."""
        standing = self._standings.get((tenant, staff_id))
        if standing is None or standing.refusals < _FEW:
            return None
        if time.monotonic() - standing.refused_at < _REMEMBERED:
            return standing.error
        standing.refusals = 0
        return None

    def waiting(self) -> dict[str, int]:
        """The IDs with which rows wait, and how many."""
        found: dict[str, int] = {}
        for (_, staff_id), standing in self._standings.items():
            if standing.waiting_rows:
                found[staff_id] = found.get(staff_id, 0) + standing.waiting_rows
        return found
