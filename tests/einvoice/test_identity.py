"""Two invoices are never taken for one, and a number that was damaged on its way is none."""

from __future__ import annotations

import random

import pytest

from ekb_async.einvoice import identity_of, read
from tests.support.invoice_files import CODE, NUMBER, OLD_NUMBER, sample


def test_numbers_that_differ_in_a_digit_are_two_invoices() -> None:
    """100,000 pairs of codes and numbers that differ in one digit never have the same identity."""
    chance = random.Random(20)
    for _ in range(100_000):
        count = chance.choice((18, 20, 20))
        digits = [chance.choice("0123456789") for _ in range(count)]
        changed = digits.copy()
        place = chance.randrange(count)
        changed[place] = chance.choice([each for each in "0123456789" if each != digits[place]])
        split = 10 if count == 18 else chance.choice((0, 12))
        first, second = (identity_of("".join(each[:split]), "".join(each[split:])) for each in (digits, changed))
        assert first != second or first is None


def test_same_number_with_different_codes() -> None:
    """A number of 8 digits says nothing without its code."""
    assert identity_of(CODE, OLD_NUMBER) == f"{CODE}-{OLD_NUMBER}"
    assert identity_of("099002400112", OLD_NUMBER) != identity_of(CODE, OLD_NUMBER)
    assert identity_of(None, OLD_NUMBER) is None


def test_red_and_blue_are_two_invoices() -> None:
    """A red-letter invoice names the blue one, and is not it."""
    for name in ("red_letter.xml", "red_letter.pdf"):
        (red,) = read(sample(name))
        assert (red.identity, red.red_letter_of) == ("25999900000000000033", NUMBER)


@pytest.mark.parametrize(
    "number", ["2.59999E+19", "25999900000000000000", "25999900000000100000", "2599990000000000001", "x", "", "1 2.5"]
)
def test_a_number_out_of_a_spreadsheet_is_refused(number: str) -> None:
    """Rounded digits, exponents and lost digits make no identity."""
    assert identity_of("", number) is None
    assert identity_of(None, number) is None


@pytest.mark.parametrize(
    ("code", "number", "identity"),
    [
        ("", NUMBER.translate({ord(each): ord(each) + 0xFEE0 for each in "0123456789"}), NUMBER),
        (None, " 2599 9900 0000 0000 0017 ", NUMBER),
        ("259999000000", "00000017", NUMBER),
        ("99002400111", "17", f"{CODE}-{OLD_NUMBER}"),
        ("9900240011", OLD_NUMBER, "9900240011-00000017"),
        ("99002400199", OLD_NUMBER, None),
        (CODE, "0000017", None),
        ("No. 099002400111", "№00000017", f"{CODE}-{OLD_NUMBER}"),
    ],
)
def test_what_can_be_repaired_is_repaired(code: str | None, number: str, identity: str | None) -> None:
    """Full-width digits, spaces, lost zeros and a number that OCR split; a number with a zero lost nothing."""
    assert identity_of(code, number) == identity
