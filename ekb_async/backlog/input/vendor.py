"""Rows made from what the vendor holds: the invoices of the ledger, or of documents.

The reference of a row never changes: it is the code of the document, or the ID of an invoice of the ledger. So a row
that was added before is found again, and an invoice that is in two documents has two rows, which share a call.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path

from ekb_async.backlog.input.rows.fields import BY_ID
from ekb_async.backlog.input.rows.identity import invoice_identity
from ekb_async.backlog.input.rows.kinds import LOOKUPS
from ekb_async.backlog.input.rows.row import ManifestRow, has_control
from ekb_async.errors import ConfigError
from ekb_async.models import Document, LedgerInvoice
from ekb_async.models.wire.coerce import CHINA
from ekb_async.validation import vendor_date

Find = Callable[[Iterable[str]], Awaitable[Mapping[str, LedgerInvoice | None]]]
"""Returns invoices of the ledger by their IDs."""

LEDGER, DOCUMENTS = Path("ledger"), Path("documents")
"""Stand for the manifest of these rows."""
VENDOR_KINDS = (*LOOKUPS, "download", BY_ID)
"""The kinds of calls that need no more than an invoice ID."""

_VERIFIABLE = "invoice"
"""The part of the ledger whose invoices the tax authority knows: those of value-added tax."""


def checked_kinds(kind: str | Collection[str]) -> tuple[str, ...]:
    """Return one kind of call, or several, as a tuple. Raises `ConfigError` for one that needs more than an ID."""
    kinds = (kind,) if isinstance(kind, str) else tuple(dict.fromkeys(kind))
    for each in kinds:
        if each not in VENDOR_KINDS:
            raise ConfigError(f"kind must be one of {', '.join(VENDOR_KINDS)}, not {each!r}")
    if not kinds:
        raise ConfigError(f"kind must be one of {', '.join(VENDOR_KINDS)}, or several")
    return kinds


def start_of_changes(since: date | None, now: float) -> datetime | None:
    """Return the time from which changes count: a date is its midnight at UTC+8, as is a time without a zone.

    Raises `ConfigError` if it is after `now`, in epoch seconds, so that there are no changes.
    """
    start = _moment(since)
    if start is not None and start.timestamp() > now:
        raise ConfigError("since must not be in the future")
    return start


def _moment(since: date | None) -> datetime | None:
    if since is None:
        return None
    if isinstance(since, datetime):
        return since if since.tzinfo is not None else since.replace(tzinfo=CHINA)
    if not isinstance(since, date):
        raise ConfigError("since must be a date or a datetime")
    return datetime.combine(since, time(), CHINA)


def parts_of(kinds: Sequence[str], parts: Collection[str] | None) -> Collection[str] | None:
    """Return the kinds of invoices to read from the ledger. To be verified only, they are those that can be.

    Raises `ConfigError` if no kind is named.
    """
    if parts is not None and not parts:
        raise ConfigError("kinds must name at least one kind of invoice, or be None for all")
    return [_VERIFIABLE] if parts is None and set(kinds) == {BY_ID} else parts


async def ledger_rows(
    invoices: AsyncIterable[LedgerInvoice], kinds: Sequence[str], *, any_part: bool, count: int
) -> AsyncIterator[list[ManifestRow]]:
    """Yield rows for invoices of the ledger, at least `count` at a time.

    Invoices that the tax authority does not know are verified only if `any_part` is set, since each check is billed.
    """
    rows: list[ManifestRow] = []
    numbers = itertools.count(1)
    async for invoice in invoices:
        if not (invoice_id := _usable(invoice.id)):
            continue
        wanted = kinds if any_part or invoice.object_id == _VERIFIABLE else [each for each in kinds if each != BY_ID]
        day = _day(invoice) if BY_ID in wanted else ""
        rows += _rows(next(numbers), wanted, invoice_id, invoice_id, day)
        if len(rows) >= count:
            yield rows
            rows = []
    yield rows


async def document_rows(
    documents: AsyncIterable[Document], kinds: Sequence[str], find: Find, *, count: int
) -> AsyncIterator[list[ManifestRow]]:
    """Yield rows for the invoices of documents that are not deleted, about `count` at a time.

    Invoices to be verified are looked up in the ledger with `find`, as each check is billed: those that the tax
    authority does not know are left out, the others get their date. Invoices that the ledger does not have are kept.
    """
    async for rows in _document_rows(documents, kinds, count=count):
        yield await _only_verifiable(rows, find) if BY_ID in kinds else rows


async def _only_verifiable(rows: list[ManifestRow], find: Find) -> list[ManifestRow]:
    found = await find(dict.fromkeys(row.invoice_id for row in rows if row.kind == BY_ID))
    kept = []
    for row in rows:
        invoice = found.get(row.invoice_id) if row.kind == BY_ID else None
        if invoice is None:
            kept.append(row)
        elif invoice.object_id == _VERIFIABLE:
            kept.append(row._replace(date=_day(invoice)))
    return kept


async def _document_rows(
    documents: AsyncIterable[Document], kinds: Sequence[str], *, count: int
) -> AsyncIterator[list[ManifestRow]]:
    rows: list[ManifestRow] = []
    numbers = itertools.count(1)
    async for document in documents:
        if document.is_deleted:
            continue
        number, ref = next(numbers), (document.code or document.id or "").replace("\0", "")
        for invoice in document.invoices:
            if invoice_id := _usable(invoice.invoice_id):
                rows += _rows(number, kinds, ref, invoice_id)
        if len(rows) >= count:
            yield rows
            rows = []
    yield rows


def _day(invoice: LedgerInvoice) -> str:
    """Return the date of an invoice as yyyyMMdd, "" if it has none."""
    return "" if invoice.form.date is None else vendor_date(invoice.form.date)


def _usable(invoice_id: str | None) -> str:
    """Return an ID that a manifest could hold, "" for any other."""
    text = (invoice_id or "").strip()
    return "" if has_control("invoice_id", text) else text


def _rows(line: int, kinds: Sequence[str], ref: str, invoice_id: str, day: str = "") -> list[ManifestRow]:
    return [
        ManifestRow(
            line=line,
            kind=kind,
            identity=invoice_identity(kind, invoice_id),
            ref=ref,
            invoice_id=invoice_id,
            date=day if kind == BY_ID else "",
        )
        for kind in kinds
    ]
