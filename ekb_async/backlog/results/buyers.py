"""Warns of invoices to other buyers than the enterprise, before they are paid for.

The names of the enterprise and what a file says of its buyer are compared without blanks and in the usual width, so
that full-width brackets are equal to others. An equal tax number is enough. A former name is right for invoices dated
before its end.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from functools import partial
from typing import Any, NamedTuple

import msgspec

from ekb_async.aio.tasks import in_thread
from ekb_async.backlog.results.limits import LIMITS
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.models import Payer
from ekb_async.models.wire.coerce import CHINA
from ekb_async.storage.statements import Statements

OTHER_BUYER = "the buyer is none of the enterprise's own names"
_SEPARATOR = "; "


class _Printed(NamedTuple):
    """A row, what its file says of itself, and its warning."""

    row_id: int
    printed: str
    warning: str


class _Warning(NamedTuple):
    """The warning of a row, and the one before."""

    row_id: int
    before: str
    warning: str


class OwnNames:
    """The names and tax numbers of an enterprise as a buyer."""

    def __init__(self, payers: Iterable[Payer]) -> None:
        self._tax_numbers: set[str] = set()
        self._ends: dict[str, datetime | None] = {}
        for payer in payers:
            self._tax_numbers.add(_plain(payer.tax_number or ""))
            for name, end in payer.names.items():
                known = self._ends.get(_plain(name), end)
                self._ends[_plain(name)] = None if end is None or known is None else max(end, known)
        self._tax_numbers.discard("")
        self._ends.pop("", None)

    def __bool__(self) -> bool:
        return bool(self._tax_numbers or self._ends)

    def include(self, printed: dict[str, Any]) -> bool | None:
        """Return whether the buyer that a file states is the enterprise, None if it states none."""
        names, tax_numbers = _each_of(printed.get("buyer")), _each_of(printed.get("buyer_tax_id"))
        if not names and not tax_numbers:
            return None
        if tax_numbers and all(each in self._tax_numbers for each in tax_numbers):
            return True
        # Of several invoices, the latest counts.
        days = [date.fromisoformat(each) for each in (printed.get("date") or "").split("+") if each]
        return bool(names) and all(self._is_own(each, max(days, default=None)) for each in names)

    def _is_own(self, name: str, day: date | None) -> bool:
        """Return whether a name is, or was on that day, the enterprise's; without a day, whether it ever was."""
        if name not in self._ends:
            return False
        end = self._ends[name]
        return end is None or day is None or datetime.combine(day, time(), CHINA) < end


async def check_buyers(store: CallStore, payers: Sequence[Payer], tenant: str) -> int:
    """Set or remove the warning of pending rows whose file states their buyer; return how many have it then.

    Nothing is changed if no name and no tax number of the enterprise is known.
    """
    own, last, others = OwnNames(payers), 0, 0
    while own and (page := await _next_page(store, tenant, last)):
        last = page[-1].row_id
        warned, changed = await in_thread(_compare, own, page)
        others += warned
        if changed:
            write = partial(_write, statement=store.invoice_sql.SET_WARNING, changed=changed)
            await store.change(write)
    return others


async def _next_page(store: CallStore, tenant: str, after: int) -> list[_Printed]:
    wanted = {"tenant": tenant, "after": after, "limit": LIMITS.rows_per_buyers_page}
    return await store.read(
        lambda statements: statements.fetch_as(_Printed, store.invoice_sql.PENDING_PRINTED, **wanted)
    )


async def _write(statements: Statements, statement: str, changed: Sequence[_Warning]) -> None:
    await statements.write(statement, changed)


def _compare(own: OwnNames, page: Iterable[_Printed]) -> tuple[int, list[_Warning]]:
    """Return how many rows have another buyer, and the warnings that change."""
    warned, changed = 0, []
    for row in page:
        is_own = own.include(msgspec.json.decode(row.printed))
        others = [each for each in row.warning.split(_SEPARATOR) if each and each != OTHER_BUYER]
        if is_own is False:
            warned += 1
            others.append(OTHER_BUYER)
        if is_own is not None and (warning := _SEPARATOR.join(others)) != row.warning:
            changed.append(_Warning(row.row_id, row.warning, warning))
    return warned, changed


def _each_of(joined: str | None) -> list[str]:
    """Return the buyers of several invoices, which have a separator between them."""
    return [plain for each in (joined or "").split(_SEPARATOR) if (plain := _plain(each))]


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split()).casefold()
