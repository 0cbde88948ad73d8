"""The texts of QR codes: which number, which amount, and what is no invoice."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from ekb_async import InvoiceKind
from ekb_async.einvoice import qr
from ekb_async.einvoice.identity import keys
from tests.support.invoice_files import CODE, DIGITAL_QR, NUMBER, OLD_NUMBER, OLD_QR

OLD = f"{CODE}-{OLD_NUMBER}"


@pytest.mark.parametrize("text", [OLD_QR, OLD_QR.rstrip(","), OLD_QR.replace("106.2,", "106.20,"), OLD_QR[:-6]])
def test_an_old_invoice_states_the_amount_without_tax(text: str) -> None:
    """With 8 or 9 fields, and with or without a zero at the end, the amount is that without tax."""
    found = qr.parse(text)
    assert found is not None
    assert keys(found) == [OLD]
    assert (found.amount_excluding_tax, found.total, found.date) == (Decimal("106.2"), None, date(2024, 5, 6))
    assert found.check_code == "01234567890123456789"


@pytest.mark.parametrize(
    ("type_", "kind", "has_total"),
    [
        ("01", InvoiceKind.VAT_SPECIAL, False),
        ("20", InvoiceKind.VAT_SPECIAL_ELECTRONIC, False),
        ("08", InvoiceKind.VAT_SPECIAL_ELECTRONIC, False),
        ("03", InvoiceKind.MOTOR_VEHICLE_SALE, False),
        ("04", InvoiceKind.VAT_NORMAL, False),
        ("11", InvoiceKind.VAT_ROLL, False),
        ("14", InvoiceKind.VAT_TOLL, False),
        ("15", InvoiceKind.USED_VEHICLE_SALE, False),
        ("31", InvoiceKind.DIGITAL_SPECIAL_PAPER, True),
        ("32", InvoiceKind.DIGITAL_NORMAL_PAPER, True),
        ("33", InvoiceKind.MOTOR_VEHICLE_SALE, True),
        ("51", InvoiceKind.DIGITAL_TRAIN_TICKET, True),
        ("59", InvoiceKind.VAT_TOLL, True),
        ("61", InvoiceKind.DIGITAL_FLIGHT_ITINERARY, True),
    ],
)
def test_the_type_says_which_amount_it_is(type_: str, kind: InvoiceKind, *, has_total: bool) -> None:
    """Types of digital invoices state the total, with a code (on paper) as well; the others the amount without tax."""
    found = qr.parse(f"01,{type_},{CODE},{OLD_NUMBER},5.5,20240506,,")
    assert found is not None
    assert (found.kind, found.total, found.amount_excluding_tax) == (
        (kind, Decimal("5.5"), None) if has_total else (kind, None, Decimal("5.5"))
    )


def test_twenty_digits_state_the_total() -> None:
    """A number of 20 digits makes the amount the total, even for an unknown type."""
    for text in (DIGITAL_QR, DIGITAL_QR.replace(",31,", ",99,"), DIGITAL_QR.replace("0A1B", "")):
        found = qr.parse(text)
        assert found is not None
        assert (keys(found), found.total) == ([NUMBER], Decimal("1000.00"))


def test_block_chain_of_yunnan() -> None:
    """The seller's tax ID in the fifth field and a date in the seventh make the sixth the total."""
    found = qr.parse(f"01,10,{CODE},{OLD_NUMBER},91990000MA0000002Y,112.57,20240506,{'0' * 64}")
    assert found is not None
    assert (keys(found), found.total, found.seller_tax_id) == ([OLD], Decimal("112.57"), "91990000MA0000002Y")
    assert found.kind is InvoiceKind.BLOCKCHAIN


def test_block_chain_of_shenzhen() -> None:
    """The total is in fen, and the identity lacks the code."""
    link = f"https://bcfp.shenzhen.chinatax.gov.cn/verify/scan?hash=00&bill_num={OLD_NUMBER}&total_amount=11257"
    found = qr.parse(link)
    assert found is not None
    assert (keys(found), found.total, found.date) == (["?-00000017"], Decimal("112.57"), None)


def test_a_delivery_link_states_number_and_date() -> None:
    """The link is parsed and not opened."""
    link = f"https://dppt.example.chinatax.gov.cn:8443/kpfw/x?Wjgs=PDF&Jym=0A1B&Fphm={NUMBER}&Kprq=20250309101112"
    found = qr.parse(link)
    assert found is not None
    assert (keys(found), found.date, found.source) == ([NUMBER], date(2025, 3, 9), "qr-link")


@pytest.mark.parametrize(
    "host",
    [
        "dppt.example.chinatax.gov.cn.example.com",
        "chinatax.gov.cn@example.com",
        "x.chinatax.gov.cn@example.com",
        "example.com\\.chinatax.gov.cn",
        "example.com#.chinatax.gov.cn",
        "evilchinatax.gov.cn",
    ],
)
def test_a_link_to_another_host_is_nothing(host: str) -> None:
    """Only hosts below chinatax.gov.cn count."""
    assert qr.parse(f"https://{host}/x?Fphm={NUMBER}&Kprq=20250309101112") is None


def test_a_fiscal_receipt_has_no_identity() -> None:
    """财政票据 is of another kind, and its numbers make no identity."""
    found = qr.parse("CZ-EI&00,x,99010125,0000000017,abc123,20250309,88.00")
    assert found is not None
    assert (keys(found), found.kind, found.total) == ([], InvoiceKind.NON_TAX_INCOME, Decimal("88.00"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.com/",
        "01,10,,00000017,1.00,20240506,,",
        f"02,10,{CODE},{OLD_NUMBER},1.00,20240506,,",
        f"01,10,{CODE},0000017,1.00,20240506,,",
        f"01,10,{CODE}1,{OLD_NUMBER},1.00,20240506,,",
        "01,31,,25999900000000000000,1.00,20250309,,",
        "01,31,,2.59999E+19,1.00,20250309,,",
        f"01,31,,{NUMBER}" + ",x" * 10_000,
        "01,31,",
    ],
)
def test_other_texts_are_no_invoice(text: str) -> None:
    """Advertisements, damaged numbers and too many fields give nothing."""
    assert qr.parse(text) is None
