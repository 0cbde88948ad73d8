"""The dialects of XML, their traps, and their encodings."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from ekb_async import InvoiceKind
from ekb_async.einvoice import read
from tests.support.invoice_files import CODE, NUMBER, OLD_NUMBER, OTHER, platform_xml, sample, xbrl


def test_the_total_is_not_that_of_a_line() -> None:
    """`TotaltaxIncludedAmount` and `Amount` of lines are not the invoice's."""
    (found,) = read(platform_xml().encode())
    assert (found.amount_excluding_tax, found.tax, found.total) == tuple(map(Decimal, ("943.40", "56.60", "1000.00")))
    assert (found.kind, found.buyer, found.buyer_tax_id) == (InvoiceKind.DIGITAL_NORMAL, "虚构甲方", None)


@pytest.mark.parametrize("text", ["2025-03-09", "2025-03-09 10:11:12", "2025-03-09T10:11:12"])
def test_forms_of_the_date(text: str) -> None:
    """The day is taken from all forms of `RequestTime`."""
    assert read(platform_xml(date=text).encode())[0].date == date(2025, 3, 9)


def test_a_file_that_contradicts_its_number_is_refused() -> None:
    """If `EIid` is another number, nothing is believed."""
    assert read(platform_xml(header_number=OTHER).encode()) == []


def test_a_number_may_end_in_zeros() -> None:
    """As one in 100,000 does; it looks as if a spreadsheet had rounded it, which has written no XML."""
    number = NUMBER[:-5] + "00000"
    assert [each.identity for each in read(platform_xml(number).encode())] == [number]


def test_several_invoices_in_a_file() -> None:
    """Each `EInvoice` is an invoice of its own; the same one twice is one."""
    both = f"<List>{platform_xml()}{platform_xml(OTHER)}{platform_xml()}</List>"
    assert [each.identity for each in read(both.encode())] == [NUMBER, OTHER]


def test_an_exempt_invoice_has_no_tax() -> None:
    """`*` is no amount, and contradicts nothing."""
    (found,) = read(platform_xml(net="100.00", tax="*", total="100.00").encode())
    assert (found.tax, found.total, found.conflicts) == (None, Decimal(100), {})


@pytest.mark.parametrize(
    ("encoding", "mark", "declared"),
    [
        ("utf-8", b"\xef\xbb\xbf", "UTF-8"),
        ("utf-8", b"", "UTF-8"),
        ("gb18030", b"", "GBK"),
        ("gb18030", b"", "gb2312"),
        ("gb18030", b"", "UTF-8"),
        ("gb18030", b"", ""),
        ("utf-16-le", b"\xff\xfe", "UTF-16"),
    ],
)
def test_encodings(encoding: str, mark: bytes, declared: str) -> None:
    """A byte order mark and GBK are read, even if the file declares another encoding, or none."""
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    (found,) = read(mark + (declaration + platform_xml()).encode(encoding))
    assert (found.identity, found.seller) == (NUMBER, "虚构乙方示例服务有限公司")


def test_a_damaged_name_is_left_out() -> None:
    """A broken byte affects the value that contains it, and no other."""
    (found,) = read(platform_xml().encode().replace("虚构乙".encode(), "虚构".encode() + b"\xe4\xb9"))
    assert (found.identity, found.seller, found.buyer) == (NUMBER, None, "虚构甲方")


def test_brackets_in_names_are_those_of_the_register() -> None:
    """ASCII and full-width brackets in a Chinese name are the same name."""
    for seller in ("虚构（北京）公司", "虚构(北京)公司"):
        assert read(platform_xml(seller=seller).encode())[0].seller == "虚构（北京）公司"


def test_the_kind_of_a_toll_invoice_is_in_its_labels() -> None:
    """A label of the special business decides over the general one."""
    labels = "<UndefinedLabel><Label1><LabelType>x</LabelType><LabelName>通行费</LabelName></Label1></UndefinedLabel>"
    assert read(platform_xml(labels=labels).encode())[0].kind is InvoiceKind.VAT_TOLL


def test_the_blue_invoice_is_found_in_the_remark() -> None:
    """Without an element of its own, the remark names the blue invoice, with any line breaks."""
    remark = f"被红冲蓝\n字数电票号码：{NUMBER[:9]}\n{NUMBER[9:]} 红字"
    remark = f"<AdditionalInformation><Remark>{remark}</Remark></AdditionalInformation>"
    (found,) = read(platform_xml(OTHER, net="-943.40", tax="-56.60", total="-1000.00", more=remark).encode())
    assert (found.identity, found.red_letter_of) == (OTHER, NUMBER)


RAIL = {
    "ElectronicInvoiceRailwayETicketNumber": "25999900900000000011",
    "ETicketNumber": NUMBER,
    "DateOfIssue": "2025-07-11",
    "TravelDate": "2025-07-02",
    "Fare": "272.50",
    "TotalAmountExcludingTax": "250.00",
    "TaxAmount": "22.50",
    "NameOfPurchaser": "虚构甲方",
}


def test_a_rail_ticket_has_two_numbers_and_two_dates() -> None:
    """`ETicketNumber` and `TravelDate` are not the invoice's, the fare is the total, and there is no seller."""
    (found,) = read(xbrl("rai", **RAIL).encode())
    assert (found.identity, found.date, found.total) == ("25999900900000000011", date(2025, 7, 11), Decimal("272.50"))
    assert (found.kind, found.seller, found.red_letter_of) == (InvoiceKind.DIGITAL_TRAIN_TICKET, None, None)


def test_a_refunded_ticket_names_the_first_one() -> None:
    """A refund (退) cancels the original invoice; a sale (售) cancels none."""
    refund = RAIL | {"TypeOfBusiness": "退", "NumberOfOriginalInvoice": OTHER}
    assert read(xbrl("rai", **refund).encode())[0].red_letter_of == OTHER
    assert read(xbrl("rai", **refund | {"TypeOfBusiness": "售"}).encode())[0].red_letter_of is None


def test_a_report_about_another_number_is_refused() -> None:
    """The identifier of a rail report is the invoice's number; another one makes the file unusable."""
    report = xbrl("rai", **RAIL, identifier="25999900900000000019")
    assert read(report.encode()) == []


def test_an_air_ticket_has_fees_besides_amount_and_tax() -> None:
    """Amount and tax need not make the total; the amount is fare and fuel surcharge."""
    facts = {
        "ElectronicInvoiceAirTransportReceiptNumber": "25999900800000000012",
        "IssueDate": "2025-07-11",
        "TotalAmount": "1160.00",
        "Fare": "900.00",
        "FuelSurcharge": "100.00",
        "VatTaxAmount": "90.00",
        "CivilAviationDevelopmentFund": "50.00",
        "OtherTaxes": "20.00",
        "NameOfSeller": "虚构航空",
    }
    (found,) = read(xbrl("atr", **facts).encode())
    assert (found.amount_excluding_tax, found.tax, found.total) == (Decimal(1000), Decimal(90), Decimal(1160))
    assert (found.kind, found.conflicts) == (InvoiceKind.DIGITAL_FLIGHT_ITINERARY, {})


@pytest.mark.parametrize(
    ("taxonomy", "is_read"), [("einv", True), ("inv_ord_receiver", True), ("bker", False), ("bkrs", False)]
)
def test_which_reports_are_invoices(taxonomy: str, *, is_read: bool) -> None:
    """The receiver's view of an invoice is read; bank papers are not invoices."""
    report = xbrl(taxonomy, InvoiceNumber=NUMBER, RequestTime="2025-03-09", TotalTax__includedAmount="1000.00")
    assert [each.total for each in read(report.encode())] == ([Decimal(1000)] if is_read else [])


def old_xml(number: str = OLD_NUMBER, graph: str = "") -> bytes:
    """Return an invoice in the older dialect."""
    values = {"InvoiceCode": CODE, "InvoiceNo": number, "IssueDate": "2024年05月06日", "MachineNo": "999000000001"}
    amounts = {"TaxExclusiveTotalAmount": "106.2", "TaxTotalAmount": "6.37", "TaxInclusiveTotalAmount": "112.57"}
    stated = "".join(
        f"<fp:{name}>{text}</fp:{name}>" for name, text in {**values, **amounts, "GraphCode": graph}.items()
    )
    return f'<eInvoice xmlns:fp="http://www.edrm.org.cn/schema/e-invoice/2019">{stated}</eInvoice>'.encode()


def test_the_older_dialect() -> None:
    """Code, number and amounts are read, and the text of the QR code beside them."""
    (found,) = read(old_xml(graph=f"01,10,{CODE},{OLD_NUMBER},106.20,20240506,01234567890123456789,0A1B"))
    assert (found.identity, found.total) == (f"{CODE}-{OLD_NUMBER}", Decimal("112.57"))
    assert found.sources["number"] == ["xml", "qr"]
    assert not found.conflicts


def test_a_qr_text_about_another_invoice_leaves_no_identity() -> None:
    """A record that names two invoices names none for certain."""
    (found,) = read(old_xml(graph=f"01,10,{CODE},00000018,106.20,20240506,01234567890123456789,0A1B"))
    assert found.identity is None
    assert found.conflicts["identity"] == [f"{CODE}-{OLD_NUMBER}", f"{CODE}-00000018"]
    assert found.conflicts["number"] == [OLD_NUMBER, "00000018"]


def test_pinyin_names() -> None:
    """FPDM, FPHM, KPRQ, HJJE, HJSE and JSHJ are read."""
    text = f"<fp><FPDM>{CODE}</FPDM><FPHM>{OLD_NUMBER}</FPHM><KPRQ>20240506</KPRQ>"
    text += "<HJJE>106.20</HJJE><JSHJ>112.57</JSHJ></fp>"
    (found,) = read(text.encode())
    assert (found.identity, found.date, found.total) == (f"{CODE}-{OLD_NUMBER}", date(2024, 5, 6), Decimal("112.57"))


def test_the_signature_is_not_read() -> None:
    """Values inside `Signature` are not the invoice's."""
    text = platform_xml().replace("</EInvoice>", f"<Signature>{platform_xml(OTHER)}</Signature></EInvoice>")
    assert [each.identity for each in read(text.encode())] == [NUMBER]


def test_document_types_are_refused() -> None:
    """A file with a document type gives nothing, whatever its entities say."""
    assert read(sample("bad_dtd.xml")) == []
    assert read(b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x">' + platform_xml().encode()) == []
