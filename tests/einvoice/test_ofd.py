"""OFD files: attachments, the two families of tags, the document's data, and the picture."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest

from ekb_async.einvoice import read
from ekb_async.einvoice.formats import ofd_tags
from tests.support.invoice_files import (
    CODE,
    DIGITAL_QR,
    NUMBER,
    OLD_NUMBER,
    OTHER,
    custom_data,
    encoded,
    ofd,
    page_of,
    platform_xml,
    qr_image,
)

PAGE = ("Pages/Page_0/Content.xml", page_of(NUMBER, "2025年03月09日", "¥", "943.40", "¥", "56.60", "¥", "1000.00"))


def refs(*numbers: int, wrap: str = "") -> str:
    """Return references to text objects, each in an element `wrap` if it is given."""
    references = (f'<ofd:ObjectRef PageRef="1">{number}</ofd:ObjectRef>' for number in numbers)
    return "".join(f"<{wrap}>{each}</{wrap}>" if wrap else each for each in references)


def test_the_amount_in_the_data_is_without_tax() -> None:
    """合计金额 is not the total, which is computed from amount and tax."""
    (found,) = read(ofd(custom_data(发票号码=NUMBER, 开票日期="2025年03月09日", 合计金额="943.40", 合计税额="56.60")))
    assert (found.amount_excluding_tax, found.total) == (Decimal("943.40"), Decimal("1000.00"))
    assert found.sources["total"] == ["computed"]


def test_an_empty_element_does_not_take_the_next_one() -> None:
    """A self-closing `CustomData` has no value, and the one after it keeps its own."""
    data = custom_data(备注="", 发票代码=CODE, 校验码="", 发票号码=OLD_NUMBER, 合计税额="", 合计金额="106.2")
    (found,) = read(ofd(data))
    assert (found.identity, found.check_code, found.tax) == (f"{CODE}-{OLD_NUMBER}", None, None)
    assert found.amount_excluding_tax == Decimal("106.2")


def test_the_check_code_is_in_groups() -> None:
    """Spaces in 校验码 are taken out."""
    (found,) = read(ofd(custom_data(发票代码=CODE, 发票号码=OLD_NUMBER, 校验码="01234 56789 01234 56789")))
    assert found.check_code == "01234567890123456789"


def test_tags_join_their_objects() -> None:
    """¥ and the number are two text objects of one field."""
    tags = (
        f'<ofd:root xmlns:ofd="x"><ofd:InvoiceNo>{refs(1)}</ofd:InvoiceNo><ofd:IssueDate>{refs(2)}</ofd:IssueDate>'
        f"<ofd:TaxExclusiveTotalAmount>{refs(3, 4)}</ofd:TaxExclusiveTotalAmount>"
        f"<ofd:TaxInclusiveTotalAmount>{refs(7, 8)}</ofd:TaxInclusiveTotalAmount></ofd:root>"
    )
    (found,) = read(ofd(entries=[PAGE, ("Tags/CustomTag.xml", tags)]))
    assert (found.identity, found.total) == (NUMBER, Decimal("1000.00"))
    assert found.sources["total"] == ["ofd-tags"]


def test_tags_of_the_tax_platform() -> None:
    """Where the total refers to its ¥ alone, it is the sum of amount and tax, and marked as computed."""
    wrap = "ofd:ObjectData"
    tags = (
        f"<EInvoice><EInvoiceData><BasicInformation><TotalAmWithoutTax>{refs(4, wrap=wrap)}</TotalAmWithoutTax>"
        f"<TotalTaxAm>{refs(6, wrap=wrap)}</TotalTaxAm>"
        f"<TotalTax-includedAmount>{refs(7, wrap=wrap)}</TotalTax-includedAmount></BasicInformation></EInvoiceData>"
        f"<IssuItemInformation><TotaltaxIncludedAmount>{refs(4, wrap=wrap)}</TotaltaxIncludedAmount>"
        f"</IssuItemInformation><TaxSupervisionInfo><InvoiceNumber>{refs(1, wrap=wrap)}</InvoiceNumber>"
        "</TaxSupervisionInfo></EInvoice>"
    )
    (found,) = read(ofd(entries=[PAGE, ("Tags/CustomTag.xml", tags)]))
    assert (found.identity, found.total, found.sources["total"]) == (NUMBER, Decimal("1000.00"), ["computed"])


@pytest.mark.parametrize(
    "tags",
    [
        '<:eInvoice xmlns:=""><InvoiceNo>{}</InvoiceNo></:eInvoice>',
        "<eInvoice><InvoiceNo>{}</InvoiceNo>",
        "<a><b></a><InvoiceNo>{}</InvoiceNo></c>",
        "<ofd:InvoiceNo>{}</ofd:InvoiceNo> < <",
    ],
)
def test_tags_that_are_no_xml(tags: str) -> None:
    """Tags of old issuers are read though they are not well-formed."""
    (found,) = read(ofd(entries=[PAGE, ("Tags/CustomTag.xml", tags.format(refs(1)))]))
    assert found.identity == NUMBER


def test_hostile_tags_take_linear_time() -> None:
    """A megabyte of any one character or tag is scanned once."""
    for part in ("<", "<a", "<a ", "</a>", "<a/>", "<:", "<a>", ">" * 3, "<a b='"):
        with suppress(ValueError):  # refused
            assert ofd_tags.references(part * (1_000_000 // len(part))) == {}


def test_an_attachment_is_trusted_most() -> None:
    """The invoice's own XML comes first, under any name in a folder of attachments."""
    entries = [PAGE, ("Attachs/x.xml", platform_xml()), ("Attachs/Attachments.xml", "<a/>")]
    (found,) = read(ofd(custom_data(发票号码=NUMBER), entries))
    assert (found.identity, found.sources["number"][0]) == (NUMBER, "ofd-attachment")


def test_a_picture_is_read_where_little_else_is_known() -> None:
    """A QR picture confirms a number that only one source states, and brings the total."""
    (found,) = read(ofd(custom_data(发票号码=NUMBER), [("Res/image_1.png", encoded(qr_image(DIGITAL_QR)))]))
    assert (found.total, found.sources["number"]) == (Decimal(1000), ["ofd-data", "qr"])


def test_a_picture_of_another_invoice_leaves_no_identity() -> None:
    """A document that names two invoices names none for certain."""
    (found,) = read(ofd(custom_data(发票号码=OTHER), [("Res/image_1.png", encoded(qr_image(DIGITAL_QR)))]))
    assert (found.identity, found.conflicts["identity"]) == (None, [OTHER, NUMBER])


def test_an_attachment_that_contradicts_itself_makes_the_file_unusable() -> None:
    """`EIid` and `InvoiceNumber` differ, so that the file is refused as the XML alone would be."""
    assert read(ofd(custom_data(发票号码=NUMBER), [("Attachs/x.xml", platform_xml(header_number=OTHER))])) == []
