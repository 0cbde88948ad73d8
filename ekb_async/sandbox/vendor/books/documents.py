"""The documents of the enterprise, such as expense claims, with the invoices and files on them.

A list is sorted again only after a change of a document of its type, and the JSON of a document is kept until it
changes.
"""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Literal, TypedDict

import msgspec

from ekb_async.models.files import Attachment
from ekb_async.sandbox.vendor.books.archive import InvoiceArchive
from ekb_async.sandbox.vendor.books.ledger import Ledger
from ekb_async.sandbox.vendor.invoices.answers import money
from ekb_async.sandbox.vendor.invoices.ledger_items import LinkedDocument

DOCUMENT_TYPES = frozenset({"expense", "loan", "payment", "requisition", "custom", "receipt", "permit"})
DocumentOrder = Literal["createTime", "updateTime", "submitDate", "payDate"]

InvoiceOnDocument = str | tuple[str, Sequence[str], Decimal, Decimal | int | str]
"""An invoice ID, or with it the IDs of the lines, the deductible tax and the tax rate; an ID alone has all lines."""
AttachmentOnDocument = Attachment | tuple[Attachment, str]
"""A file, with its name unless that is the end of its key."""


class DocumentFields(TypedDict, total=False):
    """What a document can be added with, and what can be changed; times in epoch seconds.

    `submitted_at` and `paid_at` are by default the time of the change that makes the document more than a draft, and of
    the one that makes it paid.
    """

    code: str
    type: str
    state: str
    title: str
    submitter_id: str
    owner_id: str
    invoices: Sequence[InvoiceOnDocument]
    attachments: Sequence[AttachmentOnDocument]
    submitted_at: float | None
    paid_at: float | None


class Document(msgspec.Struct, kw_only=True):
    """One document; `place` counts insertions, `times` are epoch milliseconds."""

    id: str
    code: str
    place: int
    type: str = "expense"
    state: str = "paid"
    title: str = ""
    submitter_id: str = ""
    owner_id: str = ""
    invoices: Sequence[InvoiceOnDocument] = ()
    attachments: Sequence[AttachmentOnDocument] = ()
    active: bool = True
    times: dict[DocumentOrder, int] = {}
    json: bytes | None = None

    def invoice_ids(self) -> list[str]:
        """Return the IDs of the invoices."""
        return [entry if isinstance(entry, str) else entry[0] for entry in self.invoices]

    def files(self) -> list[tuple[Attachment, str]]:
        """Return the attached files with their names."""
        return [
            (entry, entry.key.partition("-")[2] or entry.key) if isinstance(entry, Attachment) else entry
            for entry in self.attachments
        ]


class DocumentQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to list, from `start` on; `since` and `until` limit the time it is ordered by, in epoch milliseconds."""

    type: str
    start: int
    count: int
    states: frozenset[str] | None = None
    order_by: DocumentOrder = "updateTime"
    descending: bool = False
    since: int | None = None
    until: int | None = None
    active_only: bool = False

    def has(self, document: Document) -> bool:
        """Return whether a document has one of the states and is not left out as deleted."""
        return (self.states is None or document.state in self.states) and (document.active or not self.active_only)


class DocumentBook:
    """All documents, and the links of invoices to them, which the ledger shows."""

    def __init__(self, archive: InvoiceArchive, ledger: Ledger) -> None:
        self._archive = archive
        self._ledger = ledger
        self._by_id: dict[str, Document] = {}
        self._by_code: dict[str, Document] = {}
        self._ordered: defaultdict[str, dict[DocumentOrder, list[tuple[int, int, Document]]]] = defaultdict(dict)
        self._places = itertools.count()

    def add(self, document_id: str, at: float, fields: DocumentFields) -> None:
        """Add a document that is created at `at`, in place of one with the same ID. Its code is by default its ID."""
        _check(fields)
        replaced = self._by_id.pop(document_id, None)
        if replaced is not None:
            self._unlink(replaced, replaced.invoice_ids(), at)
            self._forget(replaced)
        document = Document(
            id=document_id, code=document_id, place=next(self._places), times={"createTime": int(at * 1000)}
        )
        self._by_id[document_id] = document
        self._apply(document, at, fields)

    def change(self, document_id: str, at: float, fields: DocumentFields) -> None:
        """Change a document at `at`. Raise `KeyError` for an unknown ID."""
        _check(fields)
        document = self._by_id[document_id]
        self._forget(document)
        self._apply(document, at, fields)

    def delete(self, document_id: str, at: float) -> None:
        """Mark a document as deleted at `at`, and free its invoices. Raise `KeyError` for an unknown ID."""
        document = self._by_id[document_id]
        document.active = False
        self._unlink(document, document.invoice_ids(), at)
        self.change(document_id, at, {})

    def find(self, kind: str, key: str) -> Document | None:
        """Return the document with this code or ID (`kind`) that is not deleted."""
        document = (self._by_code if kind == "code" else self._by_id).get(key)
        return document if document is not None and document.active else None

    def search(self, query: DocumentQuery) -> tuple[int, list[msgspec.Raw]]:
        """Return how many documents there are, and those from `query.start` on."""
        ordered = self._in_order(query.type, query.order_by)
        first = 0 if query.since is None else bisect.bisect_left(ordered, (query.since,))
        last = len(ordered) if query.until is None else bisect.bisect_left(ordered, (query.until + 1,))
        if query.since is not None or query.until is not None:
            first = max(first, bisect.bisect_left(ordered, (0,)))  # without those that have no such time
        found = [document for _, _, document in ordered[first:last] if query.has(document)]
        if query.descending:
            found.reverse()
        return len(found), [self._item(document) for document in found[query.start : query.start + query.count]]

    def _in_order(self, kind: str, order_by: DocumentOrder) -> list[tuple[int, int, Document]]:
        ordered = self._ordered[kind].get(order_by)
        if ordered is None:
            of_type = [document for document in self._by_id.values() if document.type == kind]
            ordered = sorted((each.times.get(order_by, -1), each.place, each) for each in of_type)
            self._ordered[kind][order_by] = ordered
        return ordered

    def _forget(self, document: Document) -> None:
        """Remove what depends on the content of a document."""
        if self._by_code.get(document.code) is document:
            del self._by_code[document.code]
        self._ordered[document.type].clear()
        document.json = None

    def _apply(self, document: Document, at: float, fields: DocumentFields) -> None:
        before = document.invoice_ids()
        given: dict[str, Any] = {**fields}
        times = {"submitDate": given.pop("submitted_at", None), "payDate": given.pop("paid_at", None)}
        for name, value in given.items():
            setattr(document, name, value)
        moment = int(at * 1000)
        document.times["updateTime"] = moment
        self._stamp(document, moment, {name: int(value * 1000) for name, value in times.items() if value is not None})
        self._by_code[document.code] = document
        self._ordered[document.type].clear()
        if document.active:
            self._unlink(document, set(before).difference(document.invoice_ids()), at)
            self._link(document, at)
        for attachment, _ in document.files():
            self._archive.ensure_file(attachment)

    @staticmethod
    def _stamp(document: Document, moment: int, given: dict[Any, int]) -> None:
        """Set the times of submission and payment that are given or that the state makes due."""
        document.times.update(given)
        if document.state not in {"draft", "rejected"}:
            document.times.setdefault("submitDate", moment)
        if document.state in {"paid", "archived"}:
            document.times.setdefault("payDate", moment)

    def _link(self, document: Document, at: float) -> None:
        shown = LinkedDocument(document.id, document.code, document.title, document.submitter_id)
        for invoice_id in document.invoice_ids():
            self._archive.ensure_listed(invoice_id, at)
            self._ledger.link(invoice_id, shown, at)

    def _unlink(self, document: Document, invoice_ids: Iterable[str], at: float) -> None:
        for invoice_id in invoice_ids:
            linked = self._ledger.document_of(invoice_id)
            if linked is not None and linked.id == document.id:
                self._ledger.link(invoice_id, None, at)

    def _item(self, document: Document) -> msgspec.Raw:
        if document.json is None:
            document.json = msgspec.json.encode(self._content(document))
        return msgspec.Raw(document.json)

    def _content(self, document: Document) -> dict[str, Any]:
        times = document.times
        return {
            "id": document.id,
            "code": document.code,
            "state": document.state,
            "formType": document.type,
            "flowType": "freeflow",
            "active": document.active,
            "createTime": times["createTime"],
            "updateTime": times["updateTime"],
            "ownerId": document.owner_id,
            "form": {
                "code": document.code,
                "title": document.title,
                "submitterId": document.submitter_id,
                "submitDate": times.get("submitDate"),
                "payDate": times.get("payDate"),
                "details": self._details(document),
            },
        }

    def _details(self, document: Document) -> list[dict[str, Any]]:
        """Return the items of a document: one for each invoice, at least one; the files are on the first."""
        groups = [[self._linked(entry)] for entry in document.invoices] or [[]]
        files = [{"fileId": each.id, "fileName": name, "key": each.key} for each, name in document.files()]
        return [
            {
                "feeTypeId": "ID01feeType",
                "feeTypeForm": {
                    "detailId": f"{document.id}:{index}",
                    "attachments": files if index == 0 else [],
                    "invoiceForm": {"type": "exist" if invoices else "noExist", "invoices": invoices},
                },
            }
            for index, invoices in enumerate(groups)
        ]

    def _linked(self, entry: InvoiceOnDocument) -> dict[str, Any]:
        if isinstance(entry, str):
            invoice, line_ids = self._archive.with_lines(entry)
            entry = (entry, line_ids, invoice.tax, 0)
        invoice_id, item_ids, tax_amount, tax_rate = entry
        return {
            "invoiceId": invoice_id,
            "itemIds": list(item_ids),
            "taxAmount": money(tax_amount),
            "taxRate": tax_rate,
        }


def _check(fields: DocumentFields) -> None:
    kind = fields.get("type", "expense")
    if kind not in DOCUMENT_TYPES:
        raise ValueError(f"type must be one of {', '.join(sorted(DOCUMENT_TYPES))}, not {kind!r}")
