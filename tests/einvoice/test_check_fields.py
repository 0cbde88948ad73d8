"""What the check by fields needs of each kind, and that nothing is given that is not certain."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from ekb_async.einvoice import EInvoice, check_fields, read
from ekb_async.models.kinds import InvoiceKind
from tests.support.invoice_files import CODE, NUMBER, OLD_NUMBER, custom_data, ofd, sample

KIND = InvoiceKind


def invoice(**values: Any) -> EInvoice:
    """Return an older invoice with all that a check may need, changed by these values."""
    given = EInvoice(
        identity=f"{CODE}-{OLD_NUMBER}",
        kind=KIND.VAT_NORMAL_ELECTRONIC,
        code=CODE,
        number=OLD_NUMBER,
        date=date(2024, 5, 6),
        amount_excluding_tax=Decimal("1E+2"),
        total=Decimal("106.20"),
        check_code="01234567890123456789",
    )
    return msgspec.structs.replace(given, **values)


@pytest.mark.parametrize(
    ("kind", "amount", "check_code"),
    [
        *((kind, "", "456789") for kind in (KIND.VAT_NORMAL, KIND.VAT_NORMAL_ELECTRONIC, KIND.VAT_ROLL, KIND.VAT_TOLL)),
        *((kind, "100", "") for kind in (KIND.VAT_SPECIAL, KIND.VAT_SPECIAL_ELECTRONIC, KIND.MOTOR_VEHICLE_SALE)),
        (KIND.BLOCKCHAIN, "100", "56789"),
        (KIND.USED_VEHICLE_SALE, "106.20", ""),
    ],
)
def test_older_kinds(kind: InvoiceKind, amount: str, check_code: str) -> None:
    """Each asks for another of the amounts, or for the end of the check code."""
    assert check_fields(invoice(kind=kind)) == (CODE, OLD_NUMBER, "20240506", amount, check_code)


@pytest.mark.parametrize("kind", [KIND.DIGITAL_NORMAL, KIND.DIGITAL_TRAIN_TICKET, KIND.VAT_TOLL, KIND.UNKNOWN])
def test_digital_invoices(kind: InvoiceKind) -> None:
    """They ask for the total, whatever kind they are, and have no code, though on paper they show one."""
    digital = invoice(identity=NUMBER, kind=kind, aliases=[f"{CODE}-{OLD_NUMBER}"])
    assert check_fields(digital) == ("", NUMBER, "20240506", "106.20", "")


@pytest.mark.parametrize(
    "values",
    [
        {"identity": None},
        {"identity": "?-00000017", "kind": KIND.BLOCKCHAIN},
        {"conflicts": {"number": ["00000017", "00000018"]}},
        {"date": None},
        {"check_code": None},
        {"check_code": "56789"},
        {"kind": KIND.VAT_SPECIAL, "amount_excluding_tax": None},
        {"kind": KIND.BLOCKCHAIN, "amount_excluding_tax": None},
        {"kind": KIND.BLOCKCHAIN, "check_code": None},
        {"kind": KIND.USED_VEHICLE_SALE, "total": None},
        {"kind": KIND.UNKNOWN},
        {"kind": KIND.TAXI_RECEIPT},
        {"identity": NUMBER, "total": None},
    ],
)
def test_what_is_missing_or_not_certain_gives_nothing(values: dict[str, Any]) -> None:
    """A check with a guess would be paid for and fail."""
    assert check_fields(invoice(**values)) is None


def test_of_files() -> None:
    """The sample files give what their kinds ask for."""
    (digital,), (old,) = read(sample("digital.xml")), read(sample("old_normal.pdf"))
    assert check_fields(digital) == ("", NUMBER, "20250309", "1000.00", "")
    assert check_fields(old) == (CODE, OLD_NUMBER, "20240506", "", "456789")
    (without_date,) = read(ofd(custom_data(发票号码=NUMBER, 价税合计="1.00")))
    assert check_fields(without_date) is None
