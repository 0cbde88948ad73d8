"""The calls that return files, and lines of invoices by ID."""

from __future__ import annotations

from typing import Any

from ekb_async.sandbox.vendor import routes
from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import (
    VendorRequest,
    json_object,
    text_list,
)


class InvoiceCalls:
    """File URLs and details."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.handlers: Handlers = {
            "invoice_url": self._invoice_url,
            "invoice_details": self._invoice_details,
            "invoice_details_many": self._invoice_details_many,
        }

    def _invoice_url(self, request: VendorRequest, at: float) -> Any:
        ids = self._books.checked_ids(text_list(json_object(request), "invoiceId"))
        items = [self._books.archive.url_item(invoice_id, self._books.base_url, at) for invoice_id in reversed(ids)]
        return {"items": [item for item in items if item]}

    def _invoice_details(self, request: VendorRequest, _at: float) -> Any:
        [invoice_id] = self._books.checked_ids([routes.invoice_id_of(request.path)])
        return {"items": self._books.archive.details(invoice_id)}

    def _invoice_details_many(self, request: VendorRequest, _at: float) -> Any:
        ids = self._books.checked_ids(text_list(json_object(request), "invoiceIds"))
        return {"items": [item for invoice_id in reversed(ids) for item in self._books.archive.details(invoice_id)]}
