"""Texts of invoice files as values: what editors and fonts do to Chinese text is undone first."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date as Date  # noqa: N812 - as in the model
from decimal import Decimal

from ekb_async.einvoice.identity import clean_code, clean_number, digits
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire import coerce

_RADICALS = str.maketrans(
    "⺁⺄⺅⺈⺉⺊⺋⺌⺎⺓⺔⺖⺗⺘⺙⺛⺝⺟⺠⺡⺢⺣⺥⺦⺧⺨⺩⺫⺭⺮⺯⺰⺳⺷⺸⺼⺽⺾⺿⻀⻁⻂⻃⻄⻅⻆⻈⻉⻊⻋⻌⻍⻎⻏⻐⻑⻒⻓⻔⻕⻖⻗⻘⻙⻚⻛⻜⻝⻞⻟⻠⻢⻣⻤⻥⻦⻧⻨⻩⻪⻬⻮⻯⻰⻱⻳",
    "厂乙亻刂刂卜㔾小兀幺彐忄心扌攵旡月母民氵氺灬爪丬牛犭王罒礻竹糹纟网羊羊月臼艹艹艹虎衤覀西见角讠贝足车辶辶辶阝钅長镸长门阜阝雨青韦页风飞食飠飠饣马骨鬼鱼鸟卤麦黄黾齐齿竜龙龜龟",
)
"""CJK radicals (U+2E80 block), which some fonts name instead of the character; NFKC changes one of them."""
_UNWANTED = str.maketrans({"\0": None, "\r": None, "￥": "¥", "\ufeff": None, "\u200b": None, "\ufffe": None})
_BROKEN = "\ufffd"
_BRACKETS = str.maketrans("()", "（）")
"""Brackets as registered names have them."""
_MOST_CHARACTERS = 200
_LARGEST = Decimal(10) ** 13
_FIRST_DAY, _LAST_DAY = Date(2000, 1, 1), Date(2100, 1, 1)
_CHECK_CODE = re.compile(r"[0-9]{20}|[0-9]{5,6}")
_TAX_ID = re.compile(r"[0-9A-Z]{15,20}")
_EXACT = {Source.XML, Source.OFD_ATTACHMENT, Source.PDF_ATTACHMENT, Source.OFD_TAGS, Source.OFD_DATA}
"""Sources that no spreadsheet has written."""
_EMPTY_NAMES = {"", "/", "-", "--", "无", "*", "***"}


def normalised(text: str) -> str:
    """Return a text in NFKC, with radicals as characters, one sign for ¥, and no characters that show nothing."""
    if text.isascii():
        return text.translate(_UNWANTED)
    return unicodedata.normalize("NFKC", text.translate(_RADICALS)).translate(_UNWANTED)


def amount(text: str | None) -> Decimal | None:
    """Return an amount of money in yuan; None for `*`, an empty text, and anything else."""
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    value = coerce.number(normalised(text).strip())
    return value if value is not None and abs(value) < _LARGEST else None


def day(text: str | None) -> Date | None:
    """Return the day of a date or time in any of the forms in use, from 2000 on."""
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    value = coerce.day(normalised(text).strip())
    return value if value is not None and _FIRST_DAY <= value < _LAST_DAY else None


def party(text: str | None) -> str | None:
    """Return the name of a buyer or seller; None if it is missing, a dash, too long or damaged."""
    if not text or len(text) > _MOST_CHARACTERS:
        return None
    name = " ".join(normalised(text).split())
    if not name.isascii():
        name = name.translate(_BRACKETS)
    return None if name in _EMPTY_NAMES or _BROKEN in name else name


def tax_id(text: str | None) -> str | None:
    """Return a taxpayer's number, 15 to 20 digits and capital letters."""
    value = "".join(normalised(text or "")[:_MOST_CHARACTERS].upper().split())
    return value if _TAX_ID.fullmatch(value) else None


def check_code(text: str | None) -> str | None:
    """Return a check code without its spaces: 20 digits, or the 5 or 6 last ones."""
    value = digits((text or "")[:_MOST_CHARACTERS]) or ""
    return value if _CHECK_CODE.fullmatch(value) else None


def evidence_of(
    source: Source,
    texts: Mapping[str, str | None],
    *,
    kind: InvoiceKind = InvoiceKind.UNKNOWN,
    red_letter_of: str | None = None,
) -> Evidence:
    """Return the evidence of texts by the names of the fields; a text that is no value of its field is left out."""
    read = texts.get
    return Evidence(
        source=source,
        code=clean_code(read("code")),
        number=clean_number(read("number"), is_exact=source in _EXACT),
        kind=kind,
        date=day(read("date")),
        amount_excluding_tax=amount(read("amount_excluding_tax")),
        tax=amount(read("tax")),
        total=amount(read("total")),
        check_code=check_code(read("check_code")),
        seller=party(read("seller")),
        seller_tax_id=tax_id(read("seller_tax_id")),
        buyer=party(read("buyer")),
        buyer_tax_id=tax_id(read("buyer_tax_id")),
        red_letter_of=red_letter_of,
    )
