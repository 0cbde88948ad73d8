"""The calls about documents: the list, their invoices, and the URLs of their files.

The pages document the limits of the list, but not the texts of the refusals.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from ekb_async.sandbox.vendor.books.books import Books
from ekb_async.sandbox.vendor.books.documents import DOCUMENT_TYPES, Document, DocumentOrder, DocumentQuery
from ekb_async.sandbox.vendor.books.files import StoredFile
from ekb_async.sandbox.vendor.calls.handler import Handlers
from ekb_async.sandbox.vendor.exchange import (
    MAX_BATCH,
    RefusedError,
    VendorRequest,
    check_batch,
    json_object,
    text_field,
    text_list,
    wrong_parameters,
)

_UTC8 = datetime.timezone(datetime.timedelta(hours=8))
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_ORDERS = get_args(DocumentOrder)


class DocumentCalls:
    """Documents page by page, the invoices of documents, and the files of documents."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.handlers: Handlers = {
            "flow_invoices": self._flow_invoices,
            "documents": self._documents,
            "document_files": self._document_files,
        }

    def _flow_invoices(self, request: VendorRequest, _at: float) -> Any:
        body = json_object(request)
        kind = text_field(body, "type")
        if kind not in {"code", "id"}:
            raise wrong_parameters()
        found = {key: self._books.documents.find(kind, key) for key in text_list(body, "codeOrIds")}
        return {"value": {key: self._refs(document) for key, document in found.items() if document is not None}}

    def _refs(self, document: Document) -> list[dict[str, Any]]:
        refs = []
        for entry in document.invoices:
            invoice_id = entry if isinstance(entry, str) else entry[0]
            invoice, line_ids = self._books.archive.with_lines(invoice_id)
            item_ids = line_ids if isinstance(entry, str) else list(entry[1])
            word = invoice.shape.object_id
            refs.append({"invoiceId": invoice_id, "invoiceItemId": item_ids, "invoiceType": word})
        return refs

    def _documents(self, request: VendorRequest, _at: float) -> Any:
        total, items = self._books.documents.search(_parsed(request.query))
        return {"count": total, "items": items}

    def _document_files(self, request: VendorRequest, at: float) -> Any:
        flow_ids = text_list(json_object(request), "flowIds")
        check_batch(flow_ids)
        found = [self._books.documents.find("id", flow_id) for flow_id in dict.fromkeys(reversed(flow_ids))]
        return {"items": [self._files(document, at) for document in found if document is not None]}

    def _files(self, document: Document, at: float) -> dict[str, Any]:
        attached = []
        for attachment, name in document.files():
            file = self._books.files.find(attachment.id, attachment.key)
            if file is not None:
                attached.append(self._file(file, name, at))
        invoices = [self._invoice_file(invoice_id, at) for invoice_id in document.invoice_ids()]
        place = {"type": "flow.free", "attachmentUrls": attached, "invoiceUrls": invoices}
        places = [place] if attached or invoices else []
        return {"flowId": document.id, "flowCode": document.code, "attachmentList": places}

    def _file(self, file: StoredFile, name: str, at: float) -> dict[str, Any]:
        expires_at = at + self._books.rules.invoice_url_lifetime
        url, _ = self._books.files.signed_urls(self._books.base_url, file, expires_at)
        return {"key": file.key, "url": url, "fileId": file.id, "fileName": name}

    def _invoice_file(self, invoice_id: str, at: float) -> dict[str, Any]:
        invoice, _ = self._books.archive.with_lines(invoice_id)
        file, name = self._books.archive.file_of(invoice_id)
        # The vendor's names are swapped.
        return {**self._file(file, name, at), "invoiceNumber": invoice.code, "invoiceCode": invoice.number}


def _parsed(query: Mapping[str, str]) -> DocumentQuery:
    """Return what the list is asked for; `uid` is accepted and changes nothing."""
    order_by, direction = query.get("orderBy", "updateTime"), query.get("orderByType", "asc")
    active, kind = query.get("active", "false"), query.get("type", "")
    if kind not in DOCUMENT_TYPES:
        raise _wrong("type", kind)
    if order_by not in _ORDERS:
        raise _wrong("orderBy", order_by)
    if direction not in {"asc", "desc"}:
        raise _wrong("orderByType", direction)
    if active not in {"true", "false"}:
        raise _wrong("active", active)
    since, until = _moment(query, "startDate"), _moment(query, "endDate")
    if order_by == "payDate" and since is None and until is None:
        raise RefusedError(400, "按支付时间查询时，startDate、endDate不能为空")
    return DocumentQuery(
        type=kind,
        start=_whole(query, "start", 0, None),
        count=_whole(query, "count", 1, MAX_BATCH),
        states=frozenset(query["state"].split(",")) if query.get("state") else None,
        order_by=cast(DocumentOrder, order_by),
        descending=direction == "desc",
        since=since,
        until=until,
        active_only=active == "true",
    )


def _whole(query: Mapping[str, str], name: str, least: int, most: int | None) -> int:
    text = query.get(name, "")
    if not text.isascii() or not text.isdigit() or int(text) < least or (most is not None and int(text) > most):
        raise _wrong(name, text)
    return int(text)


def _moment(query: Mapping[str, str], name: str) -> int | None:
    """Return a time of the query in epoch milliseconds, None if it is not given."""
    text = query.get(name, "")
    if not text:
        return None
    if not _MOMENT.fullmatch(text):
        raise _wrong(name, text)
    try:
        moment = datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_UTC8)
    except ValueError:
        raise _wrong(name, text) from None
    return int(moment.timestamp() * 1000)


def _wrong(name: str, value: str) -> RefusedError:
    return RefusedError(400, f"参数{name}不正确：{value[:50]}")
