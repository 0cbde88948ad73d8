"""Each sample file gives what is written beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from ekb_async.einvoice import read
from tests.support.invoice_files import EXPECTED, SAMPLES, sample


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_gives_what_is_expected(name: str) -> None:
    """Identity, date, total and the cancelled invoice are as expected, and nothing contradicts itself."""
    expected = EXPECTED[name]
    found = read(SAMPLES / name)
    identities = expected.get("all", [expected["identity"]] if expected["identity"] else [])
    assert [invoice.identity for invoice in found] == identities
    for invoice in found[:1]:
        assert str(invoice.date) == expected.get("date", "None")
        assert invoice.total == (Decimal(expected["total"]) if "total" in expected else None)
        assert invoice.red_letter_of == expected.get("red_letter_of")
        assert not invoice.conflicts


@pytest.mark.parametrize("name", EXPECTED)
def test_bytes_give_the_same_as_the_file(name: str) -> None:
    """`read` looks at the content alone: bytes without a name, and under a wrong one, give the same values."""
    from_file = [(each.identity, each.date, each.total) for each in read(SAMPLES / name)]
    assert [(each.identity, each.date, each.total) for each in read(sample(name))] == from_file
    assert [(each.identity, each.date, each.total) for each in read(sample(name), name="x.docx")] == from_file


def test_threads() -> None:
    """Files of all forms can be read in several threads at once."""
    names = [name for name in EXPECTED if "photo" not in name] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: read(SAMPLES / name), names))
    for name, invoices in zip(names, found, strict=True):
        assert (invoices[0].identity if invoices else None) == EXPECTED[name]["identity"]


def test_all_forms_of_an_invoice_agree() -> None:
    """XML, OFD, PDF and photo of one invoice give equal values where they give any."""
    names = ("digital.xml", "digital_A.ofd", "digital_special.pdf", "digital_photo_7deg.jpg")
    for field in ("identity", "date", "total", "seller", "buyer_tax_id", "amount_excluding_tax", "tax"):
        values = {getattr(read(SAMPLES / name)[0], field) for name in names} - {None}
        assert len(values) == 1, field
