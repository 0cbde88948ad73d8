"""Binding verified invoices to an expense item."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from ekb_async.errors import ConfigError
from ekb_async.models import VerifiedInvoice, expense_invoice_form
from ekb_async.protocol.decoding import decode_verify
from tests.support.samples import dumped, loaded, money, verify_body

VAT = "system_发票主体"
TRAIN = "system_火车票"


def verified(entity: str, form: dict[str, Any], invoice_id: str = "c:1:2", **item: Any) -> VerifiedInvoice:
    master = {"id": invoice_id, "entityId": entity, "form": form}
    return decode_verify(verify_body(entity, form, master=master, **item)).invoices[0]


def usable(name: str) -> VerifiedInvoice:
    """The vendor's sample, marked as usable."""
    body = loaded(name)
    body["items"][0]["ischeck"] = True
    return decode_verify(dumped(body)).invoices[0]


def bound(*invoices: VerifiedInvoice) -> list[dict[str, Any]]:
    """The entries of the encoded form, with numbers as Decimal."""
    form = json.loads(expense_invoice_form(invoices).encode(), parse_float=Decimal)
    assert form["type"] == "exist"
    entries: list[dict[str, Any]] = form["invoices"]
    return entries


def test_the_documented_object() -> None:
    """A value-added-tax invoice is encoded as the object that the vendor documents."""
    documented = loaded("expense-invoice-form")
    (entry,) = documented["invoices"]
    lines = [{"id": line_id, "form": {}} for line_id in entry["itemIds"]]
    form = {"E_税额": money("57.02")}
    invoice = verified(VAT, form, entry["invoiceId"], details=lines)
    encoded = expense_invoice_form(invoice).encode()
    assert encoded == dumped(documented)
    assert b'"standard":57.02,' in encoded


def test_a_vat_invoice_has_lines_and_no_rate() -> None:
    """A value-added-tax invoice is bound with its lines' IDs, rate 0 and its deductible tax."""
    (entry,) = bound(usable("verify-vat"))
    assert (entry["itemIds"], entry["taxRate"]) == (["ID01k6ciewufHV"], 0)
    assert entry["taxAmount"]["standard"] == Decimal("18.34")


def test_other_kinds_have_a_rate_and_no_lines() -> None:
    """Any other invoice is bound with its rate in percent and its deductible tax, without lines."""
    (entry,) = bound(usable("verify-train"))
    assert (entry["invoiceId"], entry["taxRate"]) == ("ID_3CshUp9uhdg", 9)
    assert "itemIds" not in entry
    assert entry["taxAmount"]["standard"] == Decimal("45.66")


def test_several_invoices_keep_their_order() -> None:
    """Several invoices of any kinds are bound in the order given."""
    entries = bound(usable("verify-train"), usable("verify-vat"))
    assert [entry["invoiceId"] for entry in entries] == ["ID_3CshUp9uhdg", "rGN3lum_4o00hM:031001900204:91068626"]


@pytest.mark.parametrize(
    ("form", "tax"),
    [
        ({"E_税额": money("45.66"), "E_税率": "9.0000", "E_system_火车票_金额": money("1.00")}, "45.66"),
        ({"E_税率": "9.0000", "E_不计税金额": money("507.34"), "E_system_火车票_金额": money("553.00")}, "45.66"),
        ({"E_税率": "9.0000", "E_system_火车票_金额": money("553.00")}, "45.66"),
        ({"E_税率": "9.0000", "E_system_火车票_金额": money("553.00"), "E_是否抵扣": False}, "0"),
        ({"E_税率": "免税", "E_system_火车票_金额": money("553.00")}, "0"),
        ({"E_税率": "9.0000"}, "0"),
    ],
)
def test_the_deductible_tax(form: dict[str, Any], tax: str) -> None:
    """The deductible tax is the vendor's figure, else amount excluding tax x rate, to the cent; 0 if not deductible."""
    (entry,) = bound(verified(TRAIN, form))
    assert entry["taxAmount"]["standard"] == Decimal(tax)


@pytest.mark.parametrize(
    ("form", "tax"),
    [
        ({"E_是否抵扣": True, "E_system_发票主体_税额": money("18.34")}, "18.34"),
        ({"E_是否抵扣": True}, "3.30"),
        ({"E_是否抵扣": False, "E_system_发票主体_税额": money("18.34")}, "0"),
        ({"E_是否抵扣": False, "E_税额": money("18.34")}, "0"),
        ({}, "0"),
    ],
)
def test_the_deductible_tax_of_a_vat_invoice(form: dict[str, Any], tax: str) -> None:
    """Without the vendor's figure, the tax of a deductible invoice or of its lines is used."""
    lines = [{"id": "x", "form": {"E_system_发票明细_税额": money(tax)}} for tax in ("1.10", "2.20")]
    (entry,) = bound(verified(VAT, form, details=lines))
    assert entry["taxAmount"]["standard"] == Decimal(tax)


@pytest.mark.parametrize(("text", "percent"), [("1.5%", Decimal("1.5")), ("3%", 3), ("10.0000", 10), ("0", 0)])
def test_rates_are_percent_on_the_wire(text: str, percent: object) -> None:
    """The rate is encoded in percent, as the vendor documents it; half percents keep their fraction."""
    (entry,) = bound(verified(TRAIN, {"E_税率": text}))
    assert entry["taxRate"] == percent


def test_what_cannot_be_used_is_refused_with_the_reason() -> None:
    """An invoice that the vendor does not allow to be used is refused with its ID and the vendor's reason."""
    invoice = decode_verify(dumped(loaded("verify-vat"))).invoices[0]
    with pytest.raises(ConfigError, match=r"rGN3lum_4o00hM:031001900204:91068626.*\[B22001240\]中已经关联"):
        expense_invoice_form([usable("verify-train"), invoice])


def test_what_is_not_said_to_be_usable_is_refused() -> None:
    """An invoice is refused unless the vendor says that it may be used."""
    with pytest.raises(ConfigError, match="c:1:2"):
        expense_invoice_form(verified(VAT, {}, ischeck=None))


def test_duplicates_are_refused() -> None:
    """An invoice that is given twice is refused with its ID."""
    with pytest.raises(ConfigError, match="c:1:2 is given twice"):
        expense_invoice_form([verified(TRAIN, {}), verified(TRAIN, {})])


def test_other_currencies_are_refused() -> None:
    """Amounts in a currency other than CNY are refused."""
    with pytest.raises(ConfigError, match="USD"):
        expense_invoice_form(verified("system_消费小票", {"E_system_消费小票_金额": money("9.00", "USD")}))
    with pytest.raises(ConfigError, match="USD"):
        expense_invoice_form(verified(TRAIN, {"E_system_火车票_金额": money("9.00", "USD"), "E_税额": money("1.00")}))
    with pytest.raises(ConfigError, match="840"):
        expense_invoice_form(
            verified(
                TRAIN, {"E_system_火车票_金额": {"standard": "9.00", "standardNumCode": "840"}, "E_税额": money("1.00")}
            )
        )


def test_an_invoice_without_an_id_or_no_invoice_is_refused() -> None:
    """An invoice without an ID and an empty list are refused."""
    with pytest.raises(ConfigError, match="no ID"):
        expense_invoice_form(verified(TRAIN, {}, invoice_id=""))
    with pytest.raises(ConfigError, match="none to bind"):
        expense_invoice_form([])
