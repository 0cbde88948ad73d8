"""What a row without an answer says of its invoices."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from ekb_async.backlog.input.rows.fields import fields_of
from ekb_async.backlog.store.values.calls import StoredRow
from ekb_async.models.wire.coerce import number as number_of


class Stated(NamedTuple):
    """What a row without an answer names: numbers of invoices, and their amount if it is known."""

    numbers: tuple[str, ...]
    total: Decimal | None


def stated_by(row: StoredRow) -> Stated:
    """Return what a row or its file says of its invoices."""
    if row.identity and (fields := fields_of(row.identity)) is not None:
        return Stated((fields.number,), number_of(fields.amount))
    if not row.printed:
        return Stated((), None)
    printed = msgspec.json.decode(row.printed)
    numbers = tuple(each.rpartition("-")[2] for each in printed.get("invoices") or ())
    parts = [number_of(part) for part in (printed.get("total") or "").split("+")]
    totals = [part for part in parts if part is not None]
    return Stated(numbers, sum(totals, Decimal(0)) if totals and len(totals) == len(parts) else None)
