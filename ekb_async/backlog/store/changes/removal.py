"""Removing rows from a backlog, and calls that have no row any more.

A page of rows is a transaction. Calls that a run has claimed are left, also if it claims them meanwhile: the calls of a
page are locked, and their state is read afterwards. A row is also left if with it the last trace of a call would go
that was sent or answered. If other rows share the call, it is kept for these, and made from the best of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.values.reports import RemoveReport
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.storage.statements import Statements


class _Row(NamedTuple):
    """A row that may be removed, and what its call is."""

    row_id: int
    call_id: int
    lead_id: int
    row_count: int
    is_running: bool
    was_sent: bool
    is_marked: bool
    needs_file: bool
    """Whether its call is made from a file and not made yet."""
    is_file: bool
    """Whether the vendor takes the row's file."""
    files: int
    """How many rows of the call have such a file."""


class _Chosen(NamedTuple):
    """What is removed of a page."""

    rows: list[int]
    kept_calls: list[int]
    calls: list[int]
    report: RemoveReport


class _Removed(NamedTuple):
    """The last row of a page, None if there was none, and what was removed of it."""

    last: int | None
    report: RemoveReport


async def remove_rows(
    store: CallStore, selection: Selection, rows: Sequence[int] | None, *, paid: bool, dry: bool
) -> RemoveReport:
    """Remove the selected rows, of `rows` only if that is given; with `dry` only count them."""
    removal = _Removal(store, selection, paid=paid, dry=dry)
    report = RemoveReport()
    if rows is not None:
        numbers = sorted(set(rows))
        for first in range(0, len(numbers), LIMITS.rows_per_removed_page):
            report += (await removal.page(numbers[first : first + LIMITS.rows_per_removed_page], 0)).report
        return report
    last: int | None = 0
    while last is not None:
        last, more = await removal.page(None, last)
        report += more
    return report


class _Removal:
    """One removal, a page at a time."""

    def __init__(self, store: CallStore, selection: Selection, *, paid: bool, dry: bool) -> None:
        self._store = store
        self._selection = selection
        self._paid = paid
        self._dry = dry
        self._taken: Counter[int] = Counter()

    async def page(self, rows: Sequence[int] | None, after: int) -> _Removed:
        """Remove the next page of rows, or of these."""
        sql = self._store.removal_sql
        query = sql.TO_REMOVE if rows is None else sql.TO_REMOVE_BY_ID
        values = {**self._selection._asdict(), "rows": rows, "after": after, "limit": LIMITS.rows_per_removed_page}
        work = partial(self._count if self._dry else self._remove, query=query, values=values)
        return await (self._store.read(work) if self._dry else self._store.change(work))

    async def _count(self, statements: Statements, query: str, values: dict[str, object]) -> _Removed:
        page = await statements.fetch_as(_Row, query, **values)
        chosen = _choose(page, self._taken, paid=self._paid)
        removed = set(chosen.rows)
        self._taken.update(each.call_id for each in page if each.row_id in removed and each.row_count > 1)
        return _Removed(page[-1].row_id if page else None, chosen.report)

    async def _remove(self, statements: Statements, query: str, values: dict[str, object]) -> _Removed:
        await statements.script(self._store.sql.LOCK_IMPORT)
        page = await statements.fetch_as(_Row, query, **values)
        if not page:
            return _Removed(None, RemoveReport())
        last = page[-1].row_id
        if lock := self._store.removal_sql.LOCK_CALLS:
            await statements.fetch(lock, calls=sorted({each.call_id for each in page}))
            ids = {each.row_id for each in page}
            page = [each for each in await statements.fetch_as(_Row, query, **values) if each.row_id in ids]
        chosen = _choose(page, Counter(), paid=self._paid)
        await _execute(statements, self._store, page, chosen)
        return _Removed(last, chosen.report)


def _choose(page: Iterable[_Row], taken: Counter[int], *, paid: bool) -> _Chosen:
    """Return what to remove; `taken` counts the rows of calls that earlier pages would have removed."""
    by_call: defaultdict[int, list[_Row]] = defaultdict(list)
    for row in page:
        by_call[row.call_id].append(row)
    removed: list[int] = []
    kept_calls, calls = [], []
    left: Counter[str] = Counter()
    for call_id, rows in by_call.items():
        wanted, why = _removable(rows, taken[call_id], paid=paid)
        if why:
            left[why] += len(rows) - len(wanted)
        removed += wanted
        if len(wanted) + taken[call_id] == rows[0].row_count:
            calls.append(call_id)
        elif wanted:
            kept_calls.append(call_id)
    report = RemoveReport(rows=len(removed), calls=len(calls), **left)
    return _Chosen(removed, kept_calls, calls, report)


def _removable(rows: Sequence[_Row], taken: int, *, paid: bool) -> tuple[list[int], str]:
    """Return which rows of a call to remove, and why the others are left."""
    call = rows[0]
    if call.is_running:
        return [], "running"
    wanted = [each.row_id for each in rows]
    # The row from which the call was made, or will be, stays for it.
    stays = call.lead_id if call.lead_id in wanted else wanted[-1]
    if len(rows) + taken == call.row_count:
        if not call.was_sent or paid:
            return wanted, ""
        why = "paid"
    elif call.needs_file and call.files and sum(each.is_file for each in rows) == call.files:
        why = "needed"
    else:
        return wanted, ""
    return [each for each in wanted if each != stays], why


async def _execute(statements: Statements, store: CallStore, page: Iterable[_Row], chosen: _Chosen) -> None:
    sql = store.removal_sql
    await statements.execute(sql.REMOVE_ROWS, rows=chosen.rows)
    await statements.execute(sql.KEEP_CALLS, calls=chosen.kept_calls)
    if not chosen.calls:
        return
    await statements.execute(sql.REMOVE_CALLS, calls=chosen.calls)
    await statements.execute(sql.REMOVE_INVOICES, calls=chosen.calls)
    gone = set(chosen.calls)
    # These take long in a large backlog, and most calls that are removed have no answer.
    if any(each.was_sent for each in page if each.call_id in gone):
        await statements.execute(sql.REMOVE_ANSWERED, calls=chosen.calls)
    if any(each.is_marked for each in page if each.call_id in gone):
        await statements.script(sql.INDEX_AGAIN)
