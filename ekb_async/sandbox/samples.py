"""A few records of an enterprise, so that a sandbox that runs as a command has something to look at."""

from __future__ import annotations

from decimal import Decimal

from ekb_async.sandbox.vendor.invoices.kinds import KINDS
from ekb_async.sandbox.vendor.invoices.sample import SampleInvoice
from ekb_async.sandbox.vendor.vendor import Vendor

_DAY = 86_400
_PEOPLE = (
    ("1001", "王小明", "wang@example.com"),
    ("1002", "李雷", "li@example.com"),
    ("1003", "韩梅梅", "han@example.com"),
)
_OF_EXAMPLES = {"corp:staff": ("1000", "张伟", "zhang@example.com")}
"""The person of the examples in the documentation, so that they work as they are written."""
_STATES = ("paid", "paid", "archived", "approving", "draft")


def add_samples(vendor: Vendor, now: float) -> dict[str, str]:
    """Add an invoice of each kind, a document for every third of them, changed in the days before `now`, and staff.

    Return the names of the staff by ID.
    """
    corporation = vendor.rules.corporation
    ids: list[str] = []
    for place, kind in enumerate(KINDS):
        has_code = KINDS[kind].code or kind.startswith("vat")
        invoice = SampleInvoice(
            kind=kind,
            number=f"{20_240_000 + place}",
            code=f"0440024001{place:02d}" if has_code else "",
            total=Decimal(f"{100 + 7 * place}.50"),
        )
        ids.append(invoice.id_in(corporation))
        vendor.add_invoice(ids[-1], invoice, at=now - (len(KINDS) - place) * _DAY)
    for place, invoice_ids in enumerate(zip(ids[::3], ids[1::3], strict=False)):
        vendor.add_document(
            id=f"ID01sample{place}",
            code=f"B2400000{place}",
            title=f"差旅报销 {place + 1}",
            state=_STATES[place % len(_STATES)],
            submitter_id=f"{corporation}:{_PEOPLE[place % len(_PEOPLE)][0]}",
            invoices=invoice_ids,
            at=now - place * _DAY / 3,
        )
    people = {f"{corporation}:{code}": (code, name, email) for code, name, email in _PEOPLE}
    for staff_id, (code, name, email) in (people | _OF_EXAMPLES).items():
        vendor.add_staff(id=staff_id, name=name, code=code, email=email)
    return {staff_id: name for staff_id, (_, name, _) in (people | _OF_EXAMPLES).items()}
