"""What several sources make: values that agree, conflicts, and what is never joined."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec
import pytest

from ekb_async import InvoiceKind
from ekb_async.einvoice import EInvoice, read
from ekb_async.einvoice.merge import invoices_of
from ekb_async.einvoice.model import Evidence, Source, Unit
from tests.support.invoice_files import CODE, NUMBER, OLD_NUMBER, OTHER, platform_xml

OLD = f"{CODE}-{OLD_NUMBER}"


def merged(*units: list[Evidence]) -> list[EInvoice]:
    """Return the invoices of places with this evidence."""
    return invoices_of(Unit(evidence) for evidence in units)


def qr(number: str | None = NUMBER, code: str | None = None, **stated: object) -> Evidence:
    """Return the evidence of a QR code."""
    return msgspec.structs.replace(Evidence(source=Source.QR, number=number, code=code), **stated)


def text(number: str | None = NUMBER, code: str | None = None, **stated: object) -> Evidence:
    """Return the evidence of a page's text."""
    return msgspec.structs.replace(qr(number, code, **stated), source=Source.PDF_TEXT)


def test_equal_amounts_in_other_digits_agree() -> None:
    """106.2 and 106.20 are one amount."""
    (found,) = merged([qr(total=Decimal("106.2")), text(total=Decimal("106.20"))])
    assert (found.total, found.conflicts, found.sources["total"]) == (Decimal("106.2"), {}, ["qr", "pdf-text"])


def test_values_that_differ_are_a_conflict() -> None:
    """Such a field is None, and its values are in the order of trust, whatever the order of the evidence."""
    (found,) = merged([text(total=Decimal(2)), qr(total=Decimal(1))])
    assert (found.identity, found.total, found.conflicts) == (NUMBER, None, {"total": [1, 2]})


def test_text_without_a_number_belongs_to_the_only_code_of_its_page() -> None:
    """It adds to one QR code; to two, or on a page without any, it says nothing."""
    loose = text(None, total=Decimal(5))
    assert [each.total for each in merged([qr(), loose])] == [Decimal(5)]
    assert [each.total for each in merged([qr(), qr(OTHER), loose])] == [None, None]
    assert [each.total for each in merged([qr()], [loose])] == [None]
    assert merged([loose]) == []


def test_a_number_without_code_joins_the_code_of_its_page() -> None:
    """A text that lost the code belongs to the QR code with the same number; another number is a contradiction."""
    (found,) = merged([qr(OLD_NUMBER, CODE), text(OLD_NUMBER, total=Decimal(5))])
    assert (found.identity, found.total) == (OLD, Decimal(5))
    (found,) = merged([qr(OLD_NUMBER, CODE), text("00000018")])
    assert (found.identity, found.conflicts["number"]) == (None, [OLD_NUMBER, "00000018"])
    (found,) = merged([text(OLD_NUMBER)])
    assert (found.identity, found.number) == (None, OLD_NUMBER)


def test_a_fiscal_receipt_beside_an_invoice() -> None:
    """Two codes on a page are two papers, also if one of them has no identity."""
    receipt = qr("0000000017", "99010125", kind=InvoiceKind.NON_TAX_INCOME)
    assert [each.identity for each in merged([qr(), receipt])] == [NUMBER, None]
    assert [each.conflicts for each in merged([receipt, qr(), qr(OTHER)])] == [{}, {}, {}]


def test_a_contradiction_is_never_joined() -> None:
    """A page that names two invoices is no evidence about either of them."""
    found = merged([qr(), text(OTHER)], [qr()], [qr(OTHER)])
    assert [each.identity for each in found] == [None, NUMBER, OTHER]
    assert found[0].conflicts["identity"] == [NUMBER, OTHER]


def test_shenzhen_joins_only_an_equal_total() -> None:
    """Without the code, the one invoice with the same number and total is meant; otherwise it stays alone."""
    shenzhen = qr(OLD_NUMBER, has_no_code=True, total=Decimal("112.57"))
    whole = text(OLD_NUMBER, CODE, total=Decimal("112.57"))
    assert [each.identity for each in merged([shenzhen], [whole])] == [OLD]
    assert [each.identity for each in merged([whole], [shenzhen])] == [OLD]
    for other in (text(OLD_NUMBER, CODE, total=Decimal(1)), text("00000018", CODE, total=Decimal("112.57"))):
        found = merged([shenzhen], [other])
        assert [each.is_certain for each in found] == [False, True]
    two = [text(OLD_NUMBER, code, total=Decimal("112.57")) for code in (CODE, "099002400112")]
    assert len(merged([shenzhen], [two[0]], [two[1]])) == 3


def test_numbers_that_differ_in_a_digit_are_never_joined() -> None:
    """Two records of one place or of two are two invoices, or one that names both numbers and has no identity."""
    chance = random.Random(7)
    sources = list(Source)
    for count in range(3_000):
        digits = [*NUMBER] if count % 2 else [*CODE, *OLD_NUMBER]
        place = chance.randrange(len(digits) - 1)
        changed = [*digits]
        changed[place] = str((int(digits[place]) + chance.randrange(1, 10)) % 10)
        pair = [
            Evidence(
                source=chance.choice(sources),
                code=None if count % 2 else "".join(each[:-8]),
                number="".join(each if count % 2 else each[-8:]),
                total=Decimal(1),
                red_letter_of=NUMBER if count % 3 == 0 else None,
            )
            for each in (digits, changed)
        ]
        assert len({each.identity for each in merged([pair[0]], [pair[1]])}) == 2
        together = [each.identity for each in merged(pair)]
        assert together == [None] or len(set(together)) == 2


def test_an_invoice_has_one_identity_of_each_form() -> None:
    """Two digital numbers with one code and number, or two codes with one digital number, contradict each other."""
    first = text(OLD_NUMBER, CODE, digital_number=NUMBER)
    for second in (text(OLD_NUMBER, CODE, digital_number=OTHER), text("00000018", CODE, digital_number=NUMBER)):
        (found,) = merged([first], [second])
        assert (found.identity, found.aliases, len(found.conflicts["identity"])) == (None, [], 3)


def test_the_code_of_a_digital_invoice_on_paper_does_not_show_its_kind() -> None:
    """Its last digits are no kind, as those of older invoices are."""
    assert merged([text(OLD_NUMBER, CODE, digital_number=NUMBER)])[0].kind is InvoiceKind.UNKNOWN
    assert merged([text(OLD_NUMBER, CODE)])[0].kind is InvoiceKind.VAT_NORMAL_ELECTRONIC


def test_both_identities_of_a_digital_invoice_on_paper() -> None:
    """Evidence under either identity is about one invoice, which has both."""
    both = text(OLD_NUMBER, CODE, digital_number=NUMBER)
    for units in ([[both], [qr()], [qr(OLD_NUMBER, CODE)]], [[qr(OLD_NUMBER, CODE)], [qr()], [both]]):
        (found,) = merged(*units)
        assert (found.identity, found.aliases, found.number, found.code) == (NUMBER, [OLD], OLD_NUMBER, CODE)
        assert found.conflicts == {}


def test_same_number_with_different_codes_is_two_invoices() -> None:
    """So is a page with both, if one source names them."""
    assert len(merged([qr(OLD_NUMBER, CODE)], [qr(OLD_NUMBER, "099002400112")])) == 2
    assert len(merged([qr(OLD_NUMBER, CODE), qr(OLD_NUMBER, "099002400112")])) == 2


def test_names_in_a_text_count_only_alone() -> None:
    """A page's text is a guess about the parties: it neither contradicts nor outvotes another source."""
    (found,) = merged([qr(seller="甲"), text(seller="乙", buyer="丙")])
    assert (found.seller, found.buyer, found.conflicts) == ("甲", "丙", {})
    xml = Evidence(source=Source.XML, number=NUMBER, seller="丁")
    assert merged([xml, qr(seller="甲")])[0].conflicts == {"seller": ["丁", "甲"]}


def test_special_and_normal_are_a_conflict() -> None:
    """专用 against 普通 is a conflict; a finer word for the same is not."""
    (found,) = merged([qr(kind=InvoiceKind.DIGITAL_SPECIAL), text(kind=InvoiceKind.DIGITAL_NORMAL)])
    assert (found.kind, len(found.conflicts["kind"])) == (InvoiceKind.UNKNOWN, 2)
    (found,) = merged([qr(kind=InvoiceKind.VAT_TOLL), text(kind=InvoiceKind.DIGITAL_NORMAL)])
    assert (found.kind, found.conflicts) == (InvoiceKind.VAT_TOLL, {})


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("099002400111", InvoiceKind.VAT_NORMAL_ELECTRONIC),
        ("099002400112", InvoiceKind.VAT_TOLL),
        ("099002400113", InvoiceKind.VAT_SPECIAL_ELECTRONIC),
        ("099002400106", InvoiceKind.VAT_ROLL),
        ("099002400104", InvoiceKind.VAT_NORMAL),
        ("144031909110", InvoiceKind.BLOCKCHAIN),
        ("144031908110", InvoiceKind.UNKNOWN),
        ("144031909111", InvoiceKind.UNKNOWN),
        ("9900240130", InvoiceKind.VAT_SPECIAL),
        ("9900240530", InvoiceKind.VAT_SPECIAL),
        ("9900240330", InvoiceKind.VAT_NORMAL),
        ("9900240630", InvoiceKind.VAT_NORMAL),
        ("9900240230", InvoiceKind.UNKNOWN),
    ],
)
def test_the_code_shows_the_kind(code: str, kind: InvoiceKind) -> None:
    """Where no source names the kind, the code does."""
    assert merged([qr(OLD_NUMBER, code)])[0].kind is kind


def test_a_sum_that_is_wrong_is_a_conflict() -> None:
    """Amount, tax and total of one source that do not add up are all doubtful."""
    (found,) = read(platform_xml(total="1000.10").encode())
    assert (found.amount_excluding_tax, found.tax, found.total) == (None, None, None)
    assert {name: [str(each) for each in values] for name, values in found.conflicts.items()} == {
        "amount_excluding_tax": ["943.40", "943.50"],
        "tax": ["56.60", "56.70"],
        "total": ["1000.10", "1000.00"],
    }


def test_a_sum_that_is_wrong_leaves_what_two_sources_state() -> None:
    """The total that the QR code confirms stays; amount and tax, which it does not, are doubtful."""
    page = text(amount_excluding_tax=Decimal(90), tax=Decimal(9), total=Decimal(100))
    (found,) = merged([qr(total=Decimal(100)), page])
    assert (found.total, found.amount_excluding_tax, set(found.conflicts)) == (
        Decimal(100),
        None,
        {"amount_excluding_tax", "tax"},
    )


def test_an_invoice_as_json() -> None:
    """`to_dict()` is ready for JSON, and a pickle or a copy is equal."""
    (found,) = read(platform_xml(total="1000.10").encode())
    written = msgspec.json.decode(msgspec.json.encode(found.to_dict()))
    assert (written["identity"], written["date"], written["kind"]) == (NUMBER, "2025-03-09", "digital_normal")
    assert written["conflicts"]["total"] == ["1000.10", "1000.00"]
    assert dict(found) == found.to_dict()
