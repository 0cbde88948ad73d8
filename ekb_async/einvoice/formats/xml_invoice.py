"""Invoices in XML: the tax platform's (数电票), XBRL of rail, air and others, the older `eInvoice`, and pinyin names.

Names look alike and differ: `TotalTax-includedAmount` is the invoice's total, `TotaltaxIncludedAmount` that of a line;
on a rail ticket, `ETicketNumber` is not the invoice's number and `TravelDate` not its date.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers.expat import ExpatError

from ekb_async.einvoice import qr
from ekb_async.einvoice.formats.xml_tree import Node, parse
from ekb_async.einvoice.identity import clean_code, clean_number, digits, keys
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.einvoice.page_text import red_letter_in
from ekb_async.einvoice.progress import Progress, UnusableError
from ekb_async.einvoice.values import amount, evidence_of
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.exact import EXACT

_PLATFORM_PARTS = {"Header", "EInvoiceData", "TaxSupervisionInfo"}
_PLATFORM_KINDS = {"01": InvoiceKind.DIGITAL_SPECIAL, "02": InvoiceKind.DIGITAL_NORMAL}
_BUSINESS_KINDS = {
    "通行费": InvoiceKind.VAT_TOLL,
    "铁路电子客票": InvoiceKind.DIGITAL_TRAIN_TICKET,
    "电子客票行程单": InvoiceKind.DIGITAL_FLIGHT_ITINERARY,
    "二手车": InvoiceKind.USED_VEHICLE_SALE,
    "机动车销售统一发票": InvoiceKind.MOTOR_VEHICLE_SALE,
}
_REFUND = "退"

_RAIL = {
    "number": "ElectronicInvoiceRailwayETicketNumber",
    "date": "DateOfIssue",
    "amount_excluding_tax": "TotalAmountExcludingTax",
    "tax": "TaxAmount",
    "total": "Fare",
    "buyer": "NameOfPurchaser",
    "buyer_tax_id": "UnifiedSocialCreditCodeOfPurchaser",
}
_AIR = {
    "number": "ElectronicInvoiceAirTransportReceiptNumber",
    "date": "IssueDate",
    "tax": "VatTaxAmount",
    "total": "TotalAmount",
    "check_code": "VerificationCode",
    "seller": "NameOfSeller",
    "seller_tax_id": "UnifiedSocialCreditCodeOfSeller",
    "buyer": "NameOfPurchaser",
    "buyer_tax_id": "UnifiedSocialCreditCodeOfPurchaser",
}
_GENERAL = {
    "number": "InvoiceNumber",
    "date": "RequestTime",
    "amount_excluding_tax": "TotalAmWithoutTax",
    "tax": "TotalTaxAm",
    "total": "TotalTax-includedAmount",
    "seller": "SellerName",
    "seller_tax_id": "SellerIdNum",
    "buyer": "BuyerName",
    "buyer_tax_id": "BuyerIdNum",
}
_OLD = {
    "code": "InvoiceCode",
    "number": "InvoiceNo",
    "date": "IssueDate",
    "amount_excluding_tax": "TaxExclusiveTotalAmount",
    "tax": "TaxTotalAmount",
    "total": "TaxInclusiveTotalAmount",
    "check_code": "InvoiceCheckCode",
    "seller": "SellerName",
    "seller_tax_id": "SellerTaxID",
    "buyer": "BuyerName",
    "buyer_tax_id": "BuyerTaxID",
}
_PINYIN = {
    "code": ("FPDM",),
    "number": ("FPHM",),
    "date": ("KPRQ",),
    "amount_excluding_tax": ("HJJE",),
    "tax": ("HJSE",),
    "total": ("JSHJ",),
    "check_code": ("JYM",),
    "seller": ("XFMC", "XSF_MC"),
    "seller_tax_id": ("XFSH", "XSF_NSRSBH"),
    "buyer": ("GFMC", "GMF_MC"),
    "buyer_tax_id": ("GFSH", "GMF_NSRSBH"),
}


class RefusedError(UnusableError):
    """Raised for a file that names its own number in two ways."""


def read_xml(data: bytes, source: Source, progress: Progress) -> Iterator[list[Evidence]]:
    """Yield the evidence of each invoice in an XML file; the first one after the whole file was read.

    Raises `UnusableError` (`RefusedError` among others) for what is damaged or contradicts itself, and `ValueError` for
    what is refused.
    """
    try:
        records = list(_records(parse(data), source))
    except ExpatError:
        raise UnusableError("the XML is damaged") from None
    for record in records:
        if not any(map(keys, record)):
            progress.leave_out()
        yield [evidence for evidence in record if _says_anything(evidence)]


def _records(root: Node, source: Source) -> Iterator[list[Evidence]]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        names = {child.name for child in node.children}
        if node.name == "EInvoice" and names & _PLATFORM_PARTS:
            yield [_platform(node, source)]
        elif node.name == "xbrl":
            yield _xbrl(node, source)
        elif names & {"InvoiceNo", "InvoiceCode"}:
            yield _old(node, source)
        elif any(name.upper() == "FPHM" for name in names):
            yield [_pinyin(node, source)]
        else:
            waiting.extend(reversed(node.children))


def _says_anything(evidence: Evidence) -> bool:
    return evidence.number is not None or evidence.total is not None


def _platform(invoice: Node, source: Source) -> Evidence:
    number, header_number = invoice.value("TaxSupervisionInfo", "InvoiceNumber"), invoice.value("Header", "EIid")
    if number and header_number and digits(number) != digits(header_number):
        raise RefusedError("the XML names two numbers for one invoice")
    data = invoice.child("EInvoiceData") or invoice
    basic = data.child("BasicInformation") or data
    parts = (data.child("SellerInformation") or data, data.child("BuyerInformation") or data)
    texts = {field: basic.value(name) for field, name in _GENERAL.items()}
    for field in ("seller", "seller_tax_id", "buyer", "buyer_tax_id"):
        texts[field] = next((text for part in parts if (text := part.value(_GENERAL[field]))), None)
    texts["number"] = number or header_number
    texts["date"] = texts["date"] or invoice.value("TaxSupervisionInfo", "IssueTime")
    return evidence_of(source, texts, kind=_platform_kind(invoice), red_letter_of=_platform_original(data))


def _platform_kind(invoice: Node) -> InvoiceKind:
    header = invoice.child("Header") or invoice
    special = header.first("UndefinedLabel")
    names = [node.text for node in special.walk() if node.name == "LabelName"] if special else []
    for word, kind in _BUSINESS_KINDS.items():
        if any(word in name for name in names):
            return kind
    code = header.value("InherentLabel", "GeneralOrSpecialVAT", "LabelCode") or ""
    return _PLATFORM_KINDS.get(code, InvoiceKind.UNKNOWN)


def _platform_original(data: Node) -> str | None:
    """Return the identity of the blue invoice, from its own element or else from the remark."""
    red = data.first("RedEInvoice")
    if red is not None:
        code = red.value("OriginalInvoiceCode")
        number = clean_number(code) or clean_number(red.value("OriginalInvoiceNumber"))
        if number:
            return number if len(number) == 20 else f"{clean_code(code) or '?'}-{number}"
    remark = data.value("AdditionalInformation", "Remark")
    return red_letter_in(remark) if remark else None


def _xbrl(report: Node, source: Source) -> list[Evidence]:
    facts = _facts(report)
    if _RAIL["number"] in facts:
        return [_rail(facts, source)]
    if _AIR["number"] in facts:
        return [_air(facts, source)]
    if not _is_invoice_report(report):
        return []
    return [evidence_of(source, {field: _only(facts, name) for field, name in _GENERAL.items()})]


def _facts(report: Node) -> dict[str, set[str]]:
    facts: dict[str, set[str]] = {}
    for node in report.walk():
        if node.text and (text := node.text.strip()):
            facts.setdefault(node.name, set()).add(text)
    return facts


def _only(facts: dict[str, set[str]], name: str) -> str | None:
    """Return the value of a fact that is stated once, or always in the same way."""
    values = facts.get(name, set())
    return next(iter(values)) if len(values) == 1 else None


def _is_invoice_report(report: Node) -> bool:
    """Return whether a taxonomy of the report is one of invoices, and not of bank papers or fiscal receipts."""
    spaces = [
        value.rstrip("/").rpartition("/")[2]
        for node in (report, *report.children)
        for name, value in node.attributes.items()
        if name.startswith("xmlns")
    ]
    return any(space.startswith(("einv", "inv_ord", "inv_spcl")) for space in spaces)


def _rail(facts: dict[str, set[str]], source: Source) -> Evidence:
    texts = {field: _only(facts, name) for field, name in _RAIL.items()}
    reported = clean_number(_only(facts, "identifier"))
    if reported and len(reported) == 20 and reported != clean_number(texts["number"]):
        raise RefusedError("the XML names two numbers for one invoice")
    found = evidence_of(source, texts, kind=InvoiceKind.DIGITAL_TRAIN_TICKET)
    cancels = _REFUND in (_only(facts, "TypeOfBusiness") or "") or (found.total is not None and found.total < 0)
    found.red_letter_of = clean_number(_only(facts, "NumberOfOriginalInvoice")) if cancels else None
    return found


def _air(facts: dict[str, set[str]], source: Source) -> Evidence:
    texts = {field: _only(facts, name) for field, name in _AIR.items()}
    found = evidence_of(source, texts, kind=InvoiceKind.DIGITAL_FLIGHT_ITINERARY)
    fare, surcharge = (amount(_only(facts, name)) for name in ("Fare", "FuelSurcharge"))
    if fare is not None:
        found.amount_excluding_tax = fare if surcharge is None else EXACT.add(fare, surcharge)
    return found


def _old(invoice: Node, source: Source) -> list[Evidence]:
    texts = {field: _nested(invoice, name) for field, name in _OLD.items()}
    found = [evidence_of(source, texts)]
    printed = qr.parse(graph) if (graph := invoice.value("GraphCode")) else None
    return [*found, printed] if printed else found


def _nested(invoice: Node, name: str) -> str | None:
    """Return a value of the invoice itself, or of its buyer or seller."""
    for parent in (invoice, invoice.child("Buyer"), invoice.child("Seller")):
        if parent is not None and (text := parent.value(name)):
            return text
    return None


def _pinyin(invoice: Node, source: Source) -> Evidence:
    values = {child.name.upper(): child.text.strip() or None for child in invoice.children}
    texts = {
        field: next((text for name in names if (text := values.get(name))), None) for field, names in _PINYIN.items()
    }
    return evidence_of(source, texts)
