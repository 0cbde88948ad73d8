"""Rows of a backlog whose invoices the vendor's ledger has."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from ekb_async.backlog import Backlog
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.sandbox import Sandbox
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlogs import checks
from tests.support.invoice_folders import number_of
from tests.support.read_rows import written_row

DAY = date(2025, 3, 9)
PRINTED = {"date": "2025-03-09", "net": "943.4", "tax": "56.6", "total": "1000"}
"""What the files of the invoices say, unless a test says otherwise."""


def add_to_ledger(box: Sandbox, *invoices: int, **fields: Any) -> None:
    """Add digital invoices to the vendor's ledger, verified and not used unless `fields` say otherwise."""
    for invoice in invoices:
        number = number_of(invoice)
        given = {"total": Decimal("1000.00"), "tax": Decimal("56.60"), "date": DAY, "kind": "digital_normal", **fields}
        box.vendor.add_invoice(f"corp::{number}", SampleInvoice(number=number, **given))


async def five_checks(directory: Path) -> Path:
    """Make a backlog with five checks, and return its path."""
    async with Backlog.open(directory / "b.sqlite") as backlog:
        await backlog.add_manifest(checks(directory, *map(fields_row, range(5))))
    return directory / "b.sqlite"


def file_row(directory: Path, invoice: int, *, kind: str = "verify", tenant: str = "", **printed: str) -> ManifestRow:
    """Write a file that shows a digital invoice, and return its row."""
    name = f"{kind}-{invoice}.pdf"
    return written_row(directory, name, number_of(invoice), kind=kind, tenant=tenant, printed={**PRINTED, **printed})


def fields_row(invoice: int, *, day: str = "20250309", amount: str = "1000.00", check_code: str = "") -> str:
    """Return a row of a manifest that checks a digital invoice by its fields, see `backlogs.checks`."""
    return f"verify_by_fields,,,{number_of(invoice)},{day},{amount},{check_code},{invoice}"
