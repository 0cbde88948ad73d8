"""Ledgers with invoices of all kinds in the sandbox."""

from __future__ import annotations

from ekb_async.sandbox import SampleInvoice, Sandbox, Vendor
from ekb_async.sandbox.vendor.invoices.kinds import KINDS

KIND_OF_PART = {shape.object_id: kind for kind, shape in reversed(list(KINDS.items()))}
"""One kind of sample invoice for each part of the ledger."""
BEGIN = 1_700_000_000.0
"""When the first invoice was added, in epoch seconds."""


def add_invoices(vendor: Vendor, numbers: range, *, parts: list[str] | None = None) -> list[str]:
    """Add an invoice for each number, the parts of the ledger taking turns, and return their IDs."""
    parts = list(KIND_OF_PART) if parts is None else parts
    ids = []
    for number in numbers:
        kind = KIND_OF_PART[parts[number % len(parts)]]
        invoice_id = f"ID01{number:08d}"
        vendor.add_invoice(invoice_id, SampleInvoice(kind=kind, number=f"{number:08d}"), at=BEGIN + number)
        ids.append(invoice_id)
    return ids


def requests(box: Sandbox) -> int:
    """Return how many requests to the ledger have arrived."""
    return box.count("ledger")
