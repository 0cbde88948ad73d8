"""The identity of an invoice: which records are the same invoice, and which numbers are numbers at all.

A digital invoice (数电票) has 20 digits. An older one has a code of 10 or 12 digits and a number of 8, and neither is
unique alone. Amounts, file hashes and file names identify nothing.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from ekb_async.einvoice.model import Evidence
from ekb_async.models.kinds import InvoiceKind

_DIGITS = re.compile(r"[^0-9]*([0-9](?:\s?[0-9])*)[^0-9]*")
_MOST_CHARACTERS = 200
_FIRST_YEAR = 22
_KNOWN_YEAR = 2026
"""A year that has begun, for machines whose clock is wrong."""
_MANGLED = "00000"
"""How 20 digits end that went through a spreadsheet, which keeps fifteen of them."""
_OLD_ENDINGS = {
    "04": InvoiceKind.VAT_NORMAL,
    "05": InvoiceKind.VAT_NORMAL,
    "06": InvoiceKind.VAT_ROLL,
    "07": InvoiceKind.VAT_ROLL,
    "11": InvoiceKind.VAT_NORMAL_ELECTRONIC,
    "12": InvoiceKind.VAT_TOLL,
    "13": InvoiceKind.VAT_SPECIAL_ELECTRONIC,
}
_OLD_EIGHTH = {
    "1": InvoiceKind.VAT_SPECIAL,
    "5": InvoiceKind.VAT_SPECIAL,
    "3": InvoiceKind.VAT_NORMAL,
    "6": InvoiceKind.VAT_NORMAL,
}


def identity_of(code: str | None, number: str | None) -> str | None:
    """Return the identity for a code and a number as people keep them; None if they do not make one.

    Digits may be full-width or spaced. Repairs what spreadsheets and OCR do: lost leading zeros, and 20 digits split
    into 12 and 8. Refuses what cannot be repaired: `2.59999E+19`, and 20 digits of which the last five are zeros.
    """
    code, number = digits(code) or "", digits(number) or ""
    if len(code) == 12 and code[0] == "2" and len(number) == 8:
        code, number = "", code + number
    if len(number) == 20:
        return digital_number(number)
    code = _with_lost_zero(code)
    if number and number[0] != "0":
        number = number.zfill(8)
    return f"{code}-{number}" if len(code) in {10, 12} and len(number) == 8 else None


def keys(evidence: Evidence) -> list[str]:
    """Return all identities of the invoice that this evidence is about, the most telling one first."""
    number, code = evidence.number or "", evidence.code
    found = [each for each in (evidence.digital_number, number) if each and len(each) == 20]
    if code and len(number) == 8:
        found.append(f"{code}-{number}")
    elif evidence.has_no_code and len(number) == 8:
        found.append(f"?-{number}")
    return list(dict.fromkeys(found))


def digits(text: str | None) -> str | None:
    """Return the one run of digits in a text, spaces inside it removed; None for none, or for two."""
    if text is None or len(text) > _MOST_CHARACTERS:
        return None
    found = _DIGITS.fullmatch(text if text.isascii() else unicodedata.normalize("NFKC", text))
    return "".join(found[1].split()) if found else None


def clean_number(text: str | None, *, is_exact: bool = False) -> str | None:
    """Return a number of 8 or 20 digits; None for anything else.

    One that ends as if a spreadsheet had rounded it counts only if that cannot be, `is_exact`.
    """
    number = digits(text) or ""
    return number if len(number) == 8 or (is_exact and len(number) == 20) else digital_number(number)


def clean_code(text: str | None) -> str | None:
    """Return a code of 10 or 12 digits; None for anything else."""
    code = digits(text) or ""
    return code if len(code) in {10, 12} else None


def digital_number(text: str) -> str | None:
    """Return the 20 digits of a digital invoice; None for anything else, and for digits that a spreadsheet rounded."""
    return text if len(text) == 20 and text.isdecimal() and not text.endswith(_MANGLED) else None


def has_plausible_year(number: str) -> bool:
    """Return whether 20 digits begin with a year in which there were digital invoices."""
    year = max(datetime.now().year, _KNOWN_YEAR)
    return _FIRST_YEAR <= int(number[:2]) <= year + 1 - 2000


def kind_of_code(code: str | None) -> InvoiceKind:
    """Return the kind of an invoice from its code; UNKNOWN if the code does not show it."""
    if not code:
        return InvoiceKind.UNKNOWN
    if len(code) == 10:
        return _OLD_EIGHTH.get(code[7], InvoiceKind.UNKNOWN)
    if code[0] == "1":
        is_block_chain = code[7:9] == "09" and code[-1] == "0"
        return InvoiceKind.BLOCKCHAIN if is_block_chain else InvoiceKind.UNKNOWN
    return _OLD_ENDINGS.get(code[-2:], InvoiceKind.UNKNOWN) if code[0] == "0" else InvoiceKind.UNKNOWN


def _with_lost_zero(code: str) -> str:
    return f"0{code}" if len(code) == 11 and code[-2:] in _OLD_ENDINGS else code
