"""The text layer of a page. It is in the order of the PDF's drawing, so a value rarely stands beside its label.

A red-letter invoice (红字发票) prints the number of the blue one that it cancels, and that of the tax bureau's notice;
both are taken out before any number is looked for. What is ambiguous is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from ekb_async.einvoice.identity import digital_number, has_plausible_year
from ekb_async.einvoice.limits import LIMITS
from ekb_async.einvoice.model import Evidence, Source
from ekb_async.einvoice.values import amount, evidence_of, normalised
from ekb_async.models.kinds import InvoiceKind
from ekb_async.models.wire.exact import EXACT


def _spread(words: str) -> str:
    """Return a pattern for words between whose characters a line may break."""
    return r"\s*".join(map(re.escape, words))


def _digits(count: int) -> str:
    return rf"[0-9](?:\s?[0-9]){{{count - 1}}}(?![0-9])"


_LABEL_END = r"\s*:?\s*"
_BLUE = re.compile(
    rf"(?:{_spread('被红冲')}|{_spread('对应')}|{_spread('原')})?\s*{_spread('蓝字')}[^0-9:,;。]{{0,30}}{_LABEL_END}"
    rf"(?P<number>{_digits(20)}|{_digits(8)})?"
)
_POSITIVE = re.compile(
    rf"{_spread('对应正数')}(?:{_spread('发票')})?{_LABEL_END}{_spread('代码')}{_LABEL_END}"
    rf"(?P<code>{_digits(12)}|{_digits(10)})[\s,;]*(?:{_spread('发票')})?{_spread('号码')}{_LABEL_END}"
    rf"(?P<number>{_digits(8)})"
)
_NOTICE = re.compile(
    rf"{_spread('红字')}[^0-9:]{{0,20}}?(?:{_spread('确认单')}|{_spread('信息表')}|{_spread('通知单')}){_spread('编号')}"
    rf"{_LABEL_END}(?:{_digits(20)}|{_digits(16)})?"
)
_OTHER = re.compile(
    rf"(?:{'|'.join(map(_spread, ('红冲', '冲红', '冲销', '冲减', '被冲', '作废', '换开', '关联', '原发票')))})"
    rf"[^0-9:,;。\n]{{0,12}}{_LABEL_END}(?:{_digits(20)}|{_digits(8)})"
)
"""The number of another invoice, in remarks that are no red-letter ones, or not in the usual words."""
_NUMBER = re.compile(rf"(?<![\u4e00-\u9fff]){_spread('发票号码')}\s*:?\s*([0-9]{{20}})(?![0-9])")
_PAPER_NUMBER = re.compile(rf"{_spread('数电票号码')}\s*:?\s*([0-9]{{20}})(?![0-9])")
_LINE = r"[^\S\n]*:?[^\S\n]*"
_OLD_CODE = re.compile(rf"(?<![正数]){_spread('发票代码')}{_LINE}([0-9]{{12}}|[0-9]{{10}})(?![0-9])")
_OLD_NUMBER = re.compile(rf"(?<![原蓝字应数电]){_spread('发票号码')}{_LINE}([0-9]{{8}})(?![0-9])")
_OLD_LINES = re.compile(r"(?<![0-9])([0-9]{12}|[0-9]{10})[^\S\n]*\n\s*([0-9]{8})[^\S\n]*\n\s*(?=20[0-9]{2}(?:\s|年))")
_OLD_LAYOUT = re.compile(rf"{_spread('校验码')}|{_spread('发票代码')}|{_spread('机器编号')}")
_ANY_NUMBER = re.compile(r"(?<![0-9])[0-9]{20}(?![0-9])")
_LABELS = tuple(re.compile(_spread(words)) for words in ("发票号码", "开票日期", "价税合计"))
"""What an invoice prints once."""
_RECEIPT = re.compile(
    "|".join(map(_spread, ("票据号码", "票据代码", "行程单", "完税证明", "收据", "车票", "船票", "机票")))
    + "|(?i:invoice|receipt)"
)
_BROKEN = "\ufffd"
_DATE = r"(20[0-9]{2})\s*年\s*([0-9]{1,2})\s*月\s*([0-9]{1,2})\s*日"
_LABELLED_DATE = re.compile(rf"{_spread('开票日期')}{_LABEL_END}{_DATE}")
_ANY_DATE = re.compile(_DATE)
_APART_DATE = re.compile(r"(?m)(?:^|[0-9]{8}\s+)(20[0-9]{2})\s+([01]?[0-9])\s+([0-3]?[0-9])$")
_MONEY = re.compile(r"(-?)\s?¥\s?(-?)\s?([0-9][0-9,]{0,20}(?:\.[0-9]{1,2})?)(?![0-9])")
_CHECK_CODE = re.compile(r"(?<![0-9])[0-9]{5} [0-9]{5} [0-9]{5} [0-9]{5}(?![0-9])")
_LABELLED_CHECK_CODE = re.compile(rf"{_spread('校验码')}{_LINE}([0-9](?:[^\S\n]?[0-9]){{19}})(?![0-9])")
_TAX_ID = re.compile(r"(?<![0-9A-Z])(?:[0-9A-HJ-NPQRTUWXY]{18}|[0-9]{15})(?![0-9A-Z])")
_NAMES = re.compile(r"名\s*称\s*:[^\S\n]*([^\s:]{2,80})[^\S\n]+名\s*称\s*:[^\S\n]*([^\s:]{2,80})")
_HAN = re.compile("[\u4e00-\u9fff]")
_KINDS = (
    (re.compile(r"铁路电子客票"), InvoiceKind.DIGITAL_TRAIN_TICKET),
    (re.compile(r"航空运输电子客票行程单"), InvoiceKind.DIGITAL_FLIGHT_ITINERARY),
    (re.compile(r"电子发票\s*\(\s*增值税专用发票\s*\)"), InvoiceKind.DIGITAL_SPECIAL),
    (re.compile(r"电子发票\s*\(\s*普通发票\s*\)"), InvoiceKind.DIGITAL_NORMAL),
    (re.compile(r"增值税电子专用发票"), InvoiceKind.VAT_SPECIAL_ELECTRONIC),
)


def read_page(text: str) -> list[Evidence]:
    """Return what the text of a page states: of one invoice all that is found, of several their numbers alone."""
    text = normalised(text[: LIMITS.page_characters])
    if "发" not in text:
        return []
    original = red_letter_in(text, is_normalised=True)
    text = _without_other_numbers(text)
    numbers = _numbers(text)
    if len(numbers) > 1:
        return [evidence_of(Source.PDF_TEXT, {"code": code, "number": number}) for code, number in numbers]
    texts: dict[str, str | None] = {"date": _date(text), "check_code": _check_code(text), **_amounts(text)}
    if numbers:
        texts |= dict(zip(("code", "number"), numbers[0], strict=True))
    found = evidence_of(Source.PDF_TEXT, texts | _parties(text), kind=_kind(text), red_letter_of=original)
    if found.code:
        found.digital_number = _one(_PAPER_NUMBER.findall(text))
    return [found]


def may_name_others(text: str, evidence: Iterable[Evidence], count: int) -> bool:
    """Return whether the text of a page may name an invoice besides the `count` ones that this evidence is about."""
    text = _without_other_numbers(normalised(text[: LIMITS.page_characters]))
    known = {number for each in evidence for number in (each.number, each.digital_number)}
    long = (number for number in _ANY_NUMBER.findall(text) if digital_number(number) and has_plausible_year(number))
    old = (number for _, number in _OLD_LINES.findall(text))
    if not known.issuperset({*long, *old, *_NUMBER.findall(text), *_OLD_NUMBER.findall(text)}):
        return True
    return any(len(label.findall(text)) > count for label in _LABELS)


def names_a_receipt(text: str) -> bool:
    """Return whether a text has words of papers that recognition takes besides invoices, or of foreign ones."""
    return _RECEIPT.search(normalised(text[: LIMITS.page_characters])) is not None


def legible_characters(text: str) -> int:
    """Return how many characters of a text can be read; 0 if a tenth of them cannot, as in fonts without a map."""
    shown = [character for character in normalised(text[: LIMITS.page_characters]) if not character.isspace()]
    legible = sum(character.isprintable() and character != _BROKEN for character in shown)
    return legible if 10 * legible > 9 * len(shown) else 0


def red_letter_in(text: str, *, is_normalised: bool = False) -> str | None:
    """Return the identity of the blue invoice that a text names as cancelled; None for none, or for several."""
    text = text if is_normalised else normalised(text[: LIMITS.page_characters])
    if "蓝" not in text and "正" not in text:
        return None
    found = {_joined(match["number"]) for match in _BLUE.finditer(text) if match["number"]}
    found = {number for number in found if len(number) == 20}
    found |= {f"{_joined(match['code'])}-{_joined(match['number'])}" for match in _POSITIVE.finditer(text)}
    return found.pop() if len(found) == 1 else None


def _joined(digits: str) -> str:
    return "".join(digits.split())


def _without_other_numbers(text: str) -> str:
    """Return the text without the numbers of the blue invoice and of the notice, and their labels.

    If such a label stands apart from its number, a mark stays, so that no number without a label is trusted.
    """
    for pattern in (_POSITIVE, _BLUE, _NOTICE, _OTHER):
        text = pattern.sub(lambda match: " " if match[0][-1].isdecimal() else f" {_UNSURE} ", text)
    return text


_UNSURE = "\u241a"


def _numbers(text: str) -> list[tuple[str | None, str]]:
    """Return the invoices that the text names, as code and number."""
    old = _old_numbers(text)
    digital = list(dict.fromkeys(number for number in _NUMBER.findall(text) if digital_number(number)))
    if old or digital:
        return [*((None, number) for number in digital), *old]
    if _UNSURE in text or "发票" not in text or _OLD_LAYOUT.search(text):
        return []
    candidates = dict.fromkeys(_ANY_NUMBER.findall(text))
    plausible = [each for each in candidates if digital_number(each) and has_plausible_year(each)]
    return [(None, plausible[0])] if len(plausible) == 1 else []


def _old_numbers(text: str) -> list[tuple[str | None, str]]:
    in_lines = list(dict.fromkeys(_OLD_LINES.findall(text)))
    if in_lines:
        return in_lines
    codes, numbers = (list(dict.fromkeys(pattern.findall(text))) for pattern in (_OLD_CODE, _OLD_NUMBER))
    if len(numbers) != 1:
        return []  # which of them is meant is not known
    return [(codes[0] if len(codes) == 1 else None, numbers[0])]


def _date(text: str) -> str | None:
    for pattern in (_LABELLED_DATE, _ANY_DATE, _APART_DATE):
        found = {tuple(part.zfill(2) for part in parts) for parts in pattern.findall(text)}
        if found:
            return "-".join(found.pop()) if len(found) == 1 else None
    return None


def _check_code(text: str) -> str | None:
    return _one(_LABELLED_CHECK_CODE.findall(text)) or _one(_CHECK_CODE.findall(text))


def _one(found: list[str]) -> str | None:
    return found[0] if len(set(found)) == 1 else None


def _amounts(text: str) -> dict[str, str]:
    """Return amount, tax and total: the values with ¥ of which two make the third; of an exempt invoice the total."""
    values = [amount(f"{before or after}{digits}") for before, after, digits in _MONEY.findall(text)]
    money = [value for value in values if value is not None][:12]
    sums = {
        (net, tax, total)
        for first, net in enumerate(money)
        for second, tax in enumerate(money[first + 1 :], first + 1)
        for total in money[second + 1 :]
        if EXACT.add(net, tax) == total and abs(net) > abs(tax)
    }
    if len(sums) == 1:
        return dict(zip(("amount_excluding_tax", "tax", "total"), map(_plain, sums.pop()), strict=True))
    exempt = len(money) == 2 and money[0] == money[1] and "*" in text
    return {"amount_excluding_tax": _plain(money[0]), "total": _plain(money[0])} if exempt else {}


def _plain(value: Decimal) -> str:
    return f"{value:f}"


def _parties(text: str) -> dict[str, str]:
    """Return buyer and seller, if the page has exactly two taxpayer's numbers; the buyer is printed first."""
    lines = [line.strip() for line in text.split("\n")]
    ids = [(row, match[0]) for row, line in enumerate(lines) for match in _TAX_ID.finditer(line)]
    if len(ids) != 2:
        return {}
    (first, buyer_id), (second, seller_id) = ids
    found = {"buyer_tax_id": buyer_id, "seller_tax_id": seller_id}
    labelled = _NAMES.search(text)
    if labelled:
        names = [labelled[1], labelled[2]]
    elif first == second:
        names = lines[first - 1].split() if first else []
    else:
        names = [lines[row - 1] if row else "" for row in (first, second)]
    if len(names) == 2 and all(_is_name(name) for name in names):
        found |= {"buyer": names[0], "seller": names[1]}
    return found


def _is_name(text: str) -> bool:
    return ":" not in text and "识别号" not in text and len(_HAN.findall(text)) >= 2


def _kind(text: str) -> InvoiceKind:
    return next((kind for pattern, kind in _KINDS if pattern.search(text)), InvoiceKind.UNKNOWN)
