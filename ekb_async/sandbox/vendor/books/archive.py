"""The enterprise's invoices: which IDs exist, and the content, file and document of each."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from ekb_async.sandbox.vendor.books.files import FileStore, StoredFile
from ekb_async.sandbox.vendor.books.ledger import Ledger
from ekb_async.sandbox.vendor.invoices.answers import detail_items
from ekb_async.sandbox.vendor.invoices.ledger_items import LinkedDocument
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice, generated_from_id
from ekb_async.sandbox.vendor.rules import Rules


class InvoiceArchive:
    """All invoices that were verified or added, or exist by the rule for IDs."""

    def __init__(self, rules: Rules, files: FileStore, ledger: Ledger) -> None:
        self._rules = rules
        self._files = files
        self._ledger = ledger
        self._removed: set[str] = set()
        self._invoices: dict[str, SampleInvoice] = {}
        self._invoice_files: dict[str, tuple[StoredFile, str]] = {}
        self._flows: dict[tuple[str, str], list[str]] = {}

    def add(
        self,
        invoice_id: str,
        invoice: SampleInvoice,
        content: bytes | None = None,
        file_name: str | None = None,
        *,
        at: float,
    ) -> None:
        """Add an invoice ID at `at`, also to the ledger, and the file behind its URL; by default a tiny image."""
        self._removed.discard(invoice_id)
        self._invoices[invoice_id] = invoice
        self._ledger.add(invoice_id, invoice, at)
        if content is not None or file_name is not None:
            self._store_file(invoice_id, content, file_name)

    def remove(self, invoice_id: str) -> None:
        """Remove an invoice everywhere, so that its ID is unknown until it is added again."""
        self._removed.add(invoice_id)
        self._invoices.pop(invoice_id, None)
        self._invoice_files.pop(invoice_id, None)
        self._ledger.remove(invoice_id)

    def add_flow(self, code: str, flow_id: str, invoice_ids: Iterable[str], at: float) -> None:
        """Add a document with its code, its ID and its invoices, and link these in the ledger."""
        linked = list(invoice_ids)
        self._flows["code", code] = self._flows["id", flow_id] = linked
        for invoice_id in linked:
            if invoice_id not in self._ledger:
                self._ledger.add(invoice_id, self.get(invoice_id) or generated_from_id(invoice_id), at)
            self._ledger.link(invoice_id, LinkedDocument(flow_id, code), at)

    def holds(self, invoice_id: str) -> bool:
        """Return whether the invoice was verified or added, so that its content is not generated from its ID."""
        return invoice_id in self._invoices

    def get(self, invoice_id: str) -> SampleInvoice | None:
        """Return the invoice with this ID, None if there is none."""
        known = self._invoices.get(invoice_id)
        if known is None and invoice_id not in self._removed and self._rules.knows(invoice_id):
            return generated_from_id(invoice_id)
        return known

    def url_item(self, invoice_id: str, base_url: str, at: float) -> dict[str, Any] | None:
        """Return the invoice's entry in 获取发票图片链接地址, None if there is no such invoice."""
        if self.get(invoice_id) is None:
            return None
        file, name = self._invoice_files.get(invoice_id) or self._store_file(invoice_id, None, None)
        url, thumb_url = self._files.signed_urls(base_url, file, at + self._rules.invoice_url_lifetime)
        region = [0, 0, 1080, 640] if thumb_url else []
        return {
            "id": invoice_id,
            "url": url,
            "thumbUrl": thumb_url,
            "source": "ocr",
            "fileName": name,
            "region": region,
        }

    def details(self, invoice_id: str) -> list[dict[str, Any]]:
        """Return the invoice's lines; empty if it is unknown or has none."""
        invoice = self.get(invoice_id)
        return detail_items(invoice, invoice_id) if invoice else []

    def flow_refs(self, kind: str, code_or_id: str) -> list[dict[str, Any]] | None:
        """Return the invoices of a document with the IDs of their lines, None if there is no such document."""
        invoice_ids = self._flows.get((kind, code_or_id))
        if invoice_ids is None:
            return None
        refs = []
        for invoice_id in invoice_ids:
            invoice = self.get(invoice_id) or generated_from_id(invoice_id)
            line_ids = [item["id"] for item in detail_items(invoice, invoice_id)]
            refs.append({"invoiceId": invoice_id, "invoiceItemId": line_ids, "invoiceType": invoice.shape.object_id})
        return refs

    def _store_file(self, invoice_id: str, content: bytes | None, file_name: str | None) -> tuple[StoredFile, str]:
        mark = hashlib.sha256(invoice_id.encode()).hexdigest()
        name = f"1-{int(mark[:10], 16)}.png" if file_name is None else file_name
        file = self._files.put(f"{mark[:20]}.png", _tiny_image(invoice_id) if content is None else content)
        self._invoice_files[invoice_id] = (file, name)
        return file, name


def _tiny_image(note: str) -> bytes:
    """Return a white PNG of one pixel that contains `note`, so that every invoice has a different file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"iTXt", b"Comment\0\0\0\0\0" + note.encode())
    return b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", zlib.compress(b"\0\xff")) + chunk(b"IEND", b"")
