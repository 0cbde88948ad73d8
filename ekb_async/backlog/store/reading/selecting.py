"""Reading the rows that a selection means, in the order of their numbers, without reading all others.

If an index shows that few calls or rows are selected, their numbers are looked up at once, and then the rows, page by
page. Otherwise rows are read in their order and the others are skipped, which costs little where many are selected. The
choice is made here: the planner of a database decides for a page, and would look all of them up again for each.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import NamedTuple

from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.limits import LIMITS
from ekb_async.backlog.store.values.calls import StoredRow
from ekb_async.backlog.store.values.selection import Selection
from ekb_async.storage.statements import Statements

# Indexes leave out what most rows lack.
_INDEXED = {
    "state": "state = :state",
    "kind": "kind = :kind",
    "tenant": "(tenant = :tenant) AND (tenant <> '')",
    "since": "ended_at >= :since",
}
# The same without the use of an index, so that a planner without statistics does not take another one.
_PLAIN = {
    "state": "state || '' = :state",
    "kind": "kind || '' = :kind",
    "tenant": "tenant || '' = :tenant",
    "since": "ended_at + 0 >= :since",
}

_ALL = Selection()


class _Way(NamedTuple):
    """How to look up what is selected by an index: statements that count up to a limit, and that find the numbers."""

    counting: str | None
    finding: str
    which: str = ""
    """The conditions of the calls, if all that is selected are calls."""


async def pages(
    store: CallStore, selection: Selection, size: int, after: int = 0
) -> AsyncGenerator[list[StoredRow], None]:
    """Yield the selected rows after row `after`, at most `size` at a time."""
    numbers = await store.read(lambda statements: _numbers(statements, store, selection, after))
    if numbers is None:
        while page := await store.page(after, size, selection):
            yield page
            after = page[-1].id
        return
    for first in range(0, len(numbers), size):
        if page := await numbered(store, numbers[first : first + size], selection):
            yield page


async def numbered(store: CallStore, numbers: Sequence[int], selection: Selection = _ALL) -> list[StoredRow]:
    """Return the rows with these numbers, if they are selected."""
    query, values = store.result_sql.PAGE_BY_NUMBER, {**selection._asdict(), "rows": numbers}
    return await store.read(lambda statements: statements.fetch_as(StoredRow, query, **values))


async def count(store: CallStore, selection: Selection) -> int:
    """Return the number of selected rows."""
    return await store.read(lambda statements: _count(statements, store, selection))


async def _count(statements: Statements, store: CallStore, selection: Selection) -> int:
    sql, values = store.result_sql, selection._asdict()
    way = await _fewest(statements, store, selection)
    if _given(selection) <= set(_PLAIN):
        # To count many, the index that has all columns is the fastest.
        which = _conditions(selection, ("since", "state")) if way is None else way.which
        return int(await statements.value(sql.SUM_OF_CALLS.format(which=which), **values))
    if way is None:
        return int(await statements.value(sql.COUNT_SELECTED, **values))
    numbers = await _found(statements, way, selection, 0)
    return int(await statements.value(sql.COUNT_BY_NUMBER, rows=numbers, **values))


async def _numbers(statements: Statements, store: CallStore, selection: Selection, after: int) -> list[int] | None:
    """Return the numbers of rows among which all selected ones are, None if those would be too many."""
    way = await _fewest(statements, store, selection)
    return None if way is None else await _found(statements, way, selection, after)


async def _found(statements: Statements, way: _Way, selection: Selection, after: int) -> list[int]:
    found = await statements.fetch(way.finding, **selection._asdict(), after=after)
    return [number for (number,) in found]


async def _fewest(statements: Statements, store: CallStore, selection: Selection) -> _Way | None:
    """Return the way that finds the fewest calls or rows, None if each finds too many."""
    values = {**selection._asdict(), "most": LIMITS.calls_gathered + 1}
    best, fewest = None, LIMITS.calls_gathered + 1
    for way in _ways(store, selection):
        found = 0 if way.counting is None else int(await statements.value(way.counting, **values))
        if found < fewest:
            best, fewest = way, found
        if fewest <= LIMITS.calls_gathered_at_once:
            break
    return best


def _ways(store: CallStore, selection: Selection) -> Iterator[_Way]:
    """Yield the ways to look up what is selected, those first that usually find the fewest."""
    sql = store.result_sql
    if selection.calls is not None:
        yield _Way(None, sql.NUMBERS_OF_LISTED)
    if selection.ref:
        yield _Way(sql.COUNT_REFS, sql.NUMBERS_OF_REF)
    for names in (("since",), ("state", "tenant", "kind"), ("tenant",)):
        # The first column of the index has to be given.
        if getattr(selection, names[0]):
            which = _conditions(selection, names)
            alone = Selection(**{name: getattr(selection, name) for name in names})
            counting = _conditions(alone, names)
            yield _Way(sql.COUNT_CALLS.format(which=counting), sql.NUMBERS_OF_CALLS.format(which=which), which)


def _conditions(selection: Selection, names: Sequence[str]) -> str:
    """Return the conditions of the calls; `names` are those that use an index."""
    given = [name for name in _PLAIN if getattr(selection, name) is not None]
    indexed = [name for name in given if name in names and getattr(selection, name) != ""]
    return " AND ".join(_INDEXED[name] if name in indexed else _PLAIN[name] for name in given) or "true"


def _given(selection: Selection) -> set[str]:
    return {name for name, value in selection._asdict().items() if value is not None and value is not False}
