"""Rows that share a call because their files show the same invoice.

Each imported row whose file was read and names its invoices with certainty has a key for each name. It gets the call
that the backlog has for one of these keys, or for one of a row with the same key, and so on; otherwise the call of
that imported row among these whose file the vendor takes best. A row whose file states another date or amount than any
of these is a conflict: it gets a call of its own.
A file that once shared a call goes on sharing it, also if it is not read again.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from ekb_async.storage.statements import Statements

CONFLICT = "another file names this invoice with another date or amount"


class Sharing(NamedTuple):
    """How many imported rows share the call of another file of their invoice, and how many contradict one."""

    rows: int = 0
    conflicts: int = 0


async def share(statements: Statements, sql: ModuleType) -> bool:
    """Give imported rows the calls of other files that show the same invoice; return whether any file names one."""
    if await statements.value(sql.HAS_UNSENDABLE):
        await statements.script(sql.FIND_UNREAD)
        await statements.execute(sql.KEEP_CONTENT)
        await statements.execute(sql.CHECK_FIELDS)
        await statements.execute(sql.KEEP_UNREAD)
    if await statements.value(sql.HAS_SHARED):
        await statements.execute(sql.SHARE_KNOWN)
    if not await statements.value(sql.HAS_KEYS):
        return False
    await statements.script(sql.FIND_KEYS)
    await _find_leaders(statements, sql)
    if await statements.execute(sql.FIND_CONFLICTS):
        await statements.execute(sql.WARN_OF_CONFLICTS, warning=CONFLICT)
        await statements.execute(sql.DROP_CONFLICTS)
        # Only such a row may have joined others.
        await _find_leaders(statements, sql)
    await statements.script(sql.FIND_BETTER)
    if await statements.execute(sql.SEND_FILES):
        await statements.execute(sql.SHARE_FILES)
    await statements.execute(sql.SHARE_CALLS)
    await statements.execute(sql.SHARE_LEADERS)
    return True


async def _find_leaders(statements: Statements, sql: ModuleType) -> None:
    await statements.execute(sql.CLEAR_LEADERS)
    await statements.execute(sql.FIND_LEADERS)
    while await statements.execute(sql.LEAD_MORE):
        pass


async def keep_keys(statements: Statements, sql: ModuleType) -> None:
    """Store the keys of the imported rows with their calls, once these exist; for rows that share a call or may."""
    if await statements.value(sql.HAS_KEYS):
        await statements.execute(sql.KEEP_KEYS)
