"""The ledger of the enterprise: every invoice that was added or verified, found by ID, by code and page by page.

Pages come from a sorted list per kind, which is sorted again only after a change. The JSON of an item is kept until the
invoice changes.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from ekb_async.sandbox.vendor.invoices.ledger_items import LinkedDocument, ledger_item, with_schema
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice
from ekb_async.sandbox.vendor.rules import LedgerOrder


@dataclass
class _Entry:
    """One invoice; `place` counts insertions, times are epoch milliseconds."""

    id: str
    invoice: SampleInvoice
    place: int
    created_at: int
    updated_at: int
    document: LinkedDocument | None = None
    json: bytes | None = None

    def item(self) -> msgspec.Raw:
        if self.json is None:
            self.json = ledger_item(self.id, self.invoice, self.document, self.created_at, self.updated_at)
        return with_schema(self.json, self.invoice.shape.entity)

    def rank(self, order: LedgerOrder) -> tuple[int, int]:
        return (self.updated_at if order == "updated" else self.created_at), self.place


@dataclass
class _Kind:
    """The invoices of one kind; `by_code` has the IDs for each code and number."""

    entries: dict[str, _Entry] = field(default_factory=dict)
    by_code: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    ordered: dict[LedgerOrder, list[_Entry]] = field(default_factory=dict)


class Ledger:
    """All invoices of the ledger, each in the list of its kind (an object ID such as `train`).

    An invoice whose ID merely exists by the rule `knows` is in it only once it was verified or is on a document.
    """

    def __init__(self) -> None:
        self._kinds: defaultdict[str, _Kind] = defaultdict(_Kind)
        self._entries: dict[str, _Entry] = {}
        self._places = itertools.count()

    def __contains__(self, invoice_id: str) -> bool:
        return invoice_id in self._entries

    def add(self, invoice_id: str, invoice: SampleInvoice, at: float) -> None:
        """Add an invoice that was created at `at`.

        One that is there already keeps its time of creation and its document; it is updated if its content differs.
        """
        known = self._entries.get(invoice_id)
        if known is None:
            moment = _milliseconds(at)
            self._insert(_Entry(invoice_id, invoice, next(self._places), moment, moment))
        elif known.invoice != invoice:
            self.remove(invoice_id)
            self._insert(_Entry(invoice_id, invoice, known.place, known.created_at, _milliseconds(at), known.document))

    def remove(self, invoice_id: str) -> None:
        """Remove an invoice if it is there."""
        entry = self._entries.pop(invoice_id, None)
        if entry is None:
            return
        kind = self._kinds[entry.invoice.shape.object_id]
        del kind.entries[invoice_id]
        kind.by_code[_code_of(entry)].pop(invoice_id, None)
        kind.ordered.clear()

    def link(self, invoice_id: str, document: LinkedDocument | None, at: float) -> None:
        """Link an invoice of the ledger to a document, or with None to no document any more.

        That counts as an update, unless the document has changed in other ways only.
        """
        entry = self._entries.get(invoice_id)
        if entry is None or entry.document == document:
            return
        is_same = entry.document is not None and document is not None and entry.document.id == document.id
        entry.document = document
        entry.json = None
        if is_same:
            return
        entry.updated_at = _milliseconds(at)
        self._kinds[entry.invoice.shape.object_id].ordered.pop("updated", None)

    def document_of(self, invoice_id: str) -> LinkedDocument | None:
        """Return the document that an invoice is linked to."""
        entry = self._entries.get(invoice_id)
        return None if entry is None else entry.document

    def page(self, object_id: str, index: int, count: int, order: LedgerOrder) -> tuple[int, list[msgspec.Raw]]:
        """Return the number of invoices of a kind, and page `index` (from 1) of `count` items."""
        kind = self._kinds[object_id]
        ordered = kind.ordered.get(order)
        if ordered is None:
            ordered = sorted(kind.entries.values(), key=lambda entry: entry.rank(order), reverse=order != "oldest")
            kind.ordered[order] = ordered
        start = (index - 1) * count
        return len(ordered), [entry.item() for entry in ordered[start : start + count]]

    def by_ids(self, object_id: str, invoice_ids: Iterable[str]) -> list[msgspec.Raw]:
        """Return the items of those IDs that are invoices of a kind."""
        entries = self._kinds[object_id].entries
        return [entries[invoice_id].item() for invoice_id in invoice_ids if invoice_id in entries]

    def by_codes(self, object_id: str, codes: Iterable[str]) -> list[msgspec.Raw]:
        """Return the items of a kind with one of these texts "code:number"; a text may have several."""
        kind = self._kinds[object_id]
        return self.by_ids(object_id, [invoice_id for code in codes for invoice_id in kind.by_code.get(code, ())])

    def _insert(self, entry: _Entry) -> None:
        self._entries[entry.id] = entry
        kind = self._kinds[entry.invoice.shape.object_id]
        kind.entries[entry.id] = entry
        if code := _code_of(entry):
            kind.by_code[code][entry.id] = None
        kind.ordered.clear()


def _code_of(entry: _Entry) -> str:
    return entry.invoice.shape.search_code(entry.invoice.code, entry.invoice.number)


def _milliseconds(at: float) -> int:
    return int(at * 1000)
