"""Holding calls that became pending although their tenant or kind is paused, see `pausing`.

No run claims them; holding them keeps them out of the way of searches.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from ekb_async.backlog.store.limits import LIMITS
from ekb_async.storage.statements import Statements


class StoredPause(NamedTuple):
    """A pause as it is stored; `since` is in epoch seconds."""

    tenant: str | None
    kind: str | None
    ref: str | None
    since: float
    reason: str


async def hold_new(statements: Statements, sql: ModuleType) -> None:
    """Hold the next calls that became pending after their pause had begun, within the caller's transaction."""
    pauses = [each for each in await statements.fetch_as(StoredPause, sql.PAUSES) if each.ref is None]
    if not pauses:
        return
    limit = LIMITS.calls_per_held_page
    if any(each.tenant is not None for each in pauses):
        await statements.execute(sql.HOLD_NEW_OF_TENANTS, limit=limit)
    if kinds := [each.kind for each in pauses if each.tenant is None and each.kind is not None]:
        await statements.execute(sql.HOLD_NEW_OF_KINDS, kinds=kinds, limit=limit)
    if any(each.tenant is None and each.kind is None for each in pauses):
        await statements.execute(sql.HOLD_NEW, limit=limit)
