"""Damaged files: no exception, and no invoice that is not the file's own."""

from __future__ import annotations

import os
import random

import pytest

from ekb_async.einvoice import read
from tests.support.invoice_files import EXPECTED, sample

COPIES = int(os.environ.get("EKB_DAMAGED_COPIES", "300"))
"""Set it to 2000 for a longer run."""


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Return a copy with changed, lost or added bytes, or cut off."""
    copy = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5, 30))):
        place = chance.randrange(len(copy))
        match chance.randrange(5):
            case 0:
                copy[place] = chance.randrange(256)
            case 1:
                copy[place] ^= 1 << chance.randrange(8)
            case 2:
                del copy[place : place + chance.choice((1, 1, 10, 200))]
            case 3:
                copy[place:place] = chance.randbytes(chance.choice((1, 5, 50)))
            case _:
                del copy[chance.randrange(len(copy) // 2, len(copy)) :]
        copy = copy or bytearray(b"x")
    return bytes(copy)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_damaged_copy_gives_nothing_or_the_right_identity(name: str) -> None:
    """Whatever happens to its bytes, a file never gives another invoice, and never raises."""
    chance = random.Random(name)
    right = {EXPECTED[name]["identity"], *EXPECTED[name].get("all", ()), None}
    share = 2 if name.endswith(".jpg") else 16  # photos take longest, and most of their bytes say nothing
    for _ in range(COPIES * share // 300):
        copy = damaged(sample(name), chance)
        assert {invoice.identity for invoice in read(copy)} <= right


def test_half_of_each_file() -> None:
    """A file whose transfer broke off gives nothing, or the right identity."""
    for name, expected in EXPECTED.items():
        content = sample(name)
        assert {each.identity for each in read(content[: len(content) // 2])} <= {expected["identity"]}
