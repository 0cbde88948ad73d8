"""Counting the calls of a file, which reads an index of all of them, a tenth of a second per million.

The status of a backlog shows three sums of the same numbers. So they are counted once, and kept until the file changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ekb_async.backlog.store.sqlite.access import SqliteAccess
from ekb_async.backlog.store.sqlite.sql import call_sql as sql
from ekb_async.backlog.store.sqlite.sql import invoice_sql, purge_sql
from ekb_async.backlog.store.transactions.accounting import Accounting, WorkCount, account
from ekb_async.backlog.store.values.calls import UNKNOWN, StateCount, TenantStateCount
from ekb_async.storage.statements import Statements


class SqliteCounts(SqliteAccess):
    """The part of a backlog in a file that counts calls."""

    _counted: tuple[object, Sequence[WorkCount]] | None = None
    """What the file's changes were, and what was counted then."""

    async def load(self) -> list[StateCount]:
        async def work(statements: Statements) -> list[StateCount]:
            if (kept := self._kept(await self._changes(statements))) is None:
                # This counts less, so it takes a little less time.
                return await statements.fetch_as(StateCount, sql.COUNT_BY_STATE)
            calls: Counter[tuple[str, str]] = Counter()
            rows: Counter[tuple[str, str]] = Counter()
            for each in kept:
                calls[each.kind, each.state] += each.calls
                rows[each.kind, each.state] += each.rows
            return [StateCount(*key, number, rows[key]) for key, number in calls.items()]

        return await self._read(work)

    async def tenant_loads(self) -> list[TenantStateCount]:
        async def work(statements: Statements) -> list[TenantStateCount]:
            rows: Counter[tuple[str, str]] = Counter()
            for each in await self._count(statements):
                rows[each.tenant, each.state] += each.rows
            counted = [(*key, number) for key, number in rows.items()]
            values = {"counted": counted, "unknown_type": UNKNOWN, "now": self.clock()}
            return await statements.fetch_as(TenantStateCount, sql.COUNT_BY_TENANT, **values)

        return await self._read(work)

    async def accounting(self) -> Accounting:
        async def work(statements: Statements) -> Accounting:
            return await account(statements, invoice_sql, purge_sql, await self._count(statements))

        return await self._read(work)

    async def _count(self, statements: Statements) -> Sequence[WorkCount]:
        # What is counted after this look may contain a later change, and is then counted again.
        changes = await self._changes(statements)
        if (kept := self._kept(changes)) is None:
            kept = await statements.fetch_as(WorkCount, invoice_sql.COUNT_WORK_OF_TENANTS)
            self._counted = (changes, kept)
        return kept

    def _kept(self, changes: object) -> Sequence[WorkCount] | None:
        if changes is None or self._counted is None or self._counted[0] != changes:
            return None
        return self._counted[1]

    async def _changes(self, statements: Statements) -> object:
        """Return a value that differs once the file was changed, None if that cannot be told."""
        if not self._file.is_writable:
            return None
        (found,) = await statements.fetch(sql.CHANGES)
        return tuple(found)
