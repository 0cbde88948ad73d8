"""The texts of the QR codes on invoices. They are parsed; no link in them is ever opened.

    01,<type>,<code>,<number>,<amount>,<yyyymmdd>,<check code>,<4 hex digits>[,]     tax bureau, old and digital
    01,10,<code>,<number>,<seller's tax ID>,<total>,<yyyymmdd>,<64 hex digits>       block chain, as in Yunnan
    https://bcfp.shenzhen.chinatax.gov.cn/…?hash=…&bill_num=…&total_amount=<fen>     block chain of Shenzhen
    https://dppt.<province>.chinatax.gov.cn:8443/…?Fphm=<number>&Kprq=<time>         delivery link of a digital invoice
    CZ-…,…,<code>,<number>,<check code>,<date>,<amount>                              fiscal receipt (财政票据)

The amount is the total for a digital invoice, and without tax for an older one. The hex digits cannot be checked here.
"""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

from ekb_async.einvoice.identity import clean_code, clean_number, digital_number, kind_of_code
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.einvoice.values import amount, check_code, day, evidence_of, normalised, tax_id
from ekb_async.models.kinds import InvoiceKind

_KINDS = {
    "01": InvoiceKind.VAT_SPECIAL,
    "03": InvoiceKind.MOTOR_VEHICLE_SALE,
    "04": InvoiceKind.VAT_NORMAL,
    "08": InvoiceKind.VAT_SPECIAL_ELECTRONIC,
    "10": InvoiceKind.VAT_NORMAL_ELECTRONIC,
    "11": InvoiceKind.VAT_ROLL,
    "14": InvoiceKind.VAT_TOLL,
    "15": InvoiceKind.USED_VEHICLE_SALE,
    "20": InvoiceKind.VAT_SPECIAL_ELECTRONIC,
    "31": InvoiceKind.DIGITAL_SPECIAL,
    "32": InvoiceKind.DIGITAL_NORMAL,
    "33": InvoiceKind.MOTOR_VEHICLE_SALE,
    "34": InvoiceKind.USED_VEHICLE_SALE,
    "51": InvoiceKind.DIGITAL_TRAIN_TICKET,
    "59": InvoiceKind.VAT_TOLL,
    "61": InvoiceKind.DIGITAL_FLIGHT_ITINERARY,
}
_WITH_TOTAL = {"31", "32", "33", "34", "51", "59", "61"}
_ON_PAPER = {
    InvoiceKind.DIGITAL_SPECIAL: InvoiceKind.DIGITAL_SPECIAL_PAPER,
    InvoiceKind.DIGITAL_NORMAL: InvoiceKind.DIGITAL_NORMAL_PAPER,
}
_LEAST_FIELDS, _MOST_FIELDS = 6, 12
_TYPE = re.compile(r"[0-9]{2}")
_HOST = re.compile(r"(?:[a-z0-9-]{1,63}\.){1,6}chinatax\.gov\.cn")
_SHENZHEN = "bcfp.shenzhen.chinatax.gov.cn"
_FEN = re.compile(r"-?[0-9]{1,14}")


def parse(text: str) -> Evidence | None:
    """Return what the text of a QR code states; None if it is not that of an invoice."""
    text = normalised(text).strip()
    if len(text) > LIMITS.qr_characters:
        return None
    if text[:8].lower().startswith(("http://", "https://")):
        return _from_link(text)
    fields = [field.strip() for field in text.split(",")]
    if not _LEAST_FIELDS <= len(fields) <= _MOST_FIELDS:
        return None
    fields += [""] * (_MOST_FIELDS - len(fields))
    if fields[0].startswith("CZ-"):
        return _from_receipt(fields)
    if fields[0] != "01" or not _TYPE.fullmatch(fields[1]):
        return None
    return _from_block_chain(fields) if tax_id(fields[4]) and day(fields[6]) else _from_fields(fields)


def is_foreign(text: str) -> bool:
    """Return whether a text that states no invoice cannot belong to one: a link to another host than the bureau's."""
    text = normalised(text[: LIMITS.qr_characters]).strip()
    try:
        link = urlsplit(text)
        host = link.hostname or ""
    except ValueError:
        return False
    return link.scheme in {"http", "https"} and "." in host and not _HOST.fullmatch(host)


def _from_fields(fields: list[str]) -> Evidence | None:
    _, kind, code, number, sum_, date, check, *_ = fields
    field = "total" if kind in _WITH_TOTAL or len(number) == 20 else "amount_excluding_tax"
    texts = {"code": code, "number": number, "date": date, "check_code": check, field: sum_}
    found = evidence_of(Source.QR, texts, kind=_kind(kind, code))
    return found if found.number and _fits(code, found) else None


def _from_block_chain(fields: list[str]) -> Evidence | None:
    _, _, code, number, seller, total, date, *_ = fields
    texts = {"code": code, "number": number, "seller_tax_id": seller, "total": total, "date": date}
    found = evidence_of(Source.QR, texts, kind=InvoiceKind.BLOCKCHAIN)
    return found if found.number and found.code else None


def _fits(code: str, found: Evidence) -> bool:
    """Return whether code and number stand together: no code, or one that can be read; 8 digits need one."""
    return bool(found.code) if code else len(found.number or "") == 20


def _kind(type_: str, code: str) -> InvoiceKind:
    kind = _KINDS.get(type_, InvoiceKind.UNKNOWN)
    if code and kind in _ON_PAPER:
        return _ON_PAPER[kind]
    of_code = kind_of_code(clean_code(code))
    refined = kind is InvoiceKind.VAT_NORMAL_ELECTRONIC and of_code in {InvoiceKind.BLOCKCHAIN, InvoiceKind.VAT_TOLL}
    return of_code if refined or kind is InvoiceKind.UNKNOWN else kind


def _from_receipt(fields: list[str]) -> Evidence:
    """Return a fiscal receipt, whose numbers have no fixed length and so make no identity."""
    return Evidence(
        source=Source.QR,
        kind=InvoiceKind.NON_TAX_INCOME,
        code=_short(fields[2]),
        number=_short(fields[3]),
        check_code=_short(fields[4]),
        date=day(fields[5]),
        total=amount(fields[6]),
    )


def _short(text: str) -> str | None:
    return text if text and len(text) <= 24 and text.isascii() and text.isalnum() else None


def _from_link(text: str) -> Evidence | None:
    try:
        link = urlsplit(text)
        host = link.hostname or ""
        query = parse_qsl(link.query, max_num_fields=40)
    except ValueError:
        return None
    stated = {name.lower(): value for name, value in query}
    if not _HOST.fullmatch(host) or len(stated) != len(query):
        return None
    if host == _SHENZHEN:
        return _from_shenzhen(stated)
    number = digital_number(stated.get("fphm", ""))
    return Evidence(source=Source.QR_LINK, number=number, date=day(stated.get("kprq"))) if number else None


def _from_shenzhen(stated: dict[str, str]) -> Evidence | None:
    number, fen = clean_number(stated.get("bill_num")), stated.get("total_amount", "")
    if number is None:
        return None
    return Evidence(
        source=Source.QR,
        kind=InvoiceKind.BLOCKCHAIN,
        number=number,
        has_no_code=True,
        check_code=check_code(stated.get("check_code")),
        total=Decimal(int(fen)).scaleb(-2) if _FEN.fullmatch(fen) else None,
    )
