"""The enterprise's invoices: which IDs exist, and the content and file of each."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

from ekb_async.models.files import Attachment
from ekb_async.sandbox.vendor.books.files import FileStore, StoredFile
from ekb_async.sandbox.vendor.books.ledger import Ledger
from ekb_async.sandbox.vendor.invoices.answers import detail_items
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
        file, name = self.file_of(invoice_id)
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

    def ensure_listed(self, invoice_id: str, at: float) -> None:
        """Add an invoice to the ledger at `at` if it is not in it, generated from its ID if it is not known."""
        if invoice_id not in self._ledger:
            self._ledger.add(invoice_id, self.get(invoice_id) or generated_from_id(invoice_id), at)

    def ensure_file(self, attachment: Attachment) -> None:
        """Store a tiny image for an attachment that was not uploaded."""
        if self._files.find(attachment.id, attachment.key) is None:
            self._files.put(attachment.key, _tiny_image(attachment.key), file_id=attachment.id)

    def with_lines(self, invoice_id: str) -> tuple[SampleInvoice, list[str]]:
        """Return an invoice, generated from its ID if it is not known, and the IDs of its lines."""
        invoice = self.get(invoice_id) or generated_from_id(invoice_id)
        return invoice, [item["id"] for item in detail_items(invoice, invoice_id)]

    def file_of(self, invoice_id: str) -> tuple[StoredFile, str]:
        """Return the file of an invoice, and its name."""
        return self._invoice_files.get(invoice_id) or self._store_file(invoice_id, None, None)

    def _store_file(self, invoice_id: str, content: bytes | None, file_name: str | None) -> tuple[StoredFile, str]:
        mark = hashlib.sha256(invoice_id.encode()).hexdigest()
        name = f"1-{int(mark[:10], 16)}.png" if file_name is None else file_name
        image = _tiny_image(invoice_id) if content is None else content
        file = self._files.put(f"{mark[:20]}.png", image, file_id=f"ID01{mark[20:32]}")
        self._invoice_files[invoice_id] = (file, name)
        return file, name


def _tiny_image(note: str) -> bytes:
    """Return a white PNG of one pixel that contains `note`, so that every invoice has a different file."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"iTXt", b"Comment\0\0\0\0\0" + note.encode())
    return b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", zlib.compress(b"\0\xff")) + chunk(b"IEND", b"")
