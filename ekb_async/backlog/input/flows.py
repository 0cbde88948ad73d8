"""Lists of document codes (单据), and the rows made from the invoices of these documents.

A list is a text file with one code per line. Codes are resolved when the list is added, so the backlog stores invoice
IDs only.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ekb_async.backlog.input.manifest import kept_path, open_list
from ekb_async.backlog.input.rows.identity import invoice_identity
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.errors import ManifestError
from ekb_async.models import InvoiceRef


class FlowCode(NamedTuple):
    """The code of a document, and its line in the list."""

    line: int
    code: str


class FlowCodes:
    """A list of document codes, open for reading. Raises `ManifestError` if it cannot be read or is not UTF-8."""

    def __init__(self, path: Path) -> None:
        self.path = kept_path(path, "a list")
        self._lines = io.TextIOWrapper(open_list(path, "list of codes"), encoding="utf-8-sig")
        self._numbered = enumerate(self._lines, 1)

    def take(self, count: int) -> list[FlowCode]:
        """Return the next codes, at most `count`; an empty list at the end of the file."""
        codes = ((number, line.strip()) for number, line in self._numbered)
        try:
            return list(itertools.islice((FlowCode(number, code) for number, code in codes if code), count))
        except (OSError, UnicodeDecodeError):
            raise ManifestError.at(self.path, "the list of codes cannot be read, or is not UTF-8") from None

    def close(self) -> None:
        self._lines.close()


def rows_of(
    codes: Sequence[FlowCode], found: Mapping[str, Sequence[InvoiceRef]], kinds: Sequence[str]
) -> list[ManifestRow]:
    """Return one row per invoice and kind; the document's code is its `ref`."""
    return [
        ManifestRow(
            line=line,
            kind=kind,
            identity=invoice_identity(kind, invoice.invoice_id),
            ref=code,
            invoice_id=invoice.invoice_id,
        )
        for line, code in codes
        for invoice in found.get(code, ())
        if invoice.invoice_id and invoice.invoice_id.strip()
        for kind in kinds
    ]
