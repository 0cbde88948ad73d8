"""The glossary: each term once, with one translation."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.support.pages import CHINESE, ENGLISH

_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
_BETWEEN = re.compile(r"[、，,（）()]+\s*")


def _terms(page: Path) -> list[tuple[str, str]]:
    """Return the Chinese and the English cell of each row, without the heading."""
    return _ROW.findall(page.read_text(encoding="utf-8"))[1:]


def _each(cells: list[str]) -> list[str]:
    """Return the single terms of cells that may name several."""
    return [term.strip().lower() for cell in cells for term in _BETWEEN.split(cell) if term.strip()]


@pytest.mark.parametrize("column", [0, 1], ids=["Chinese", "English"])
def test_no_term_is_listed_twice(column: int) -> None:
    """Neither a Chinese nor an English term stands in two rows."""
    terms = _each([row[column] for row in _terms(CHINESE / "glossary.md")])
    assert [term for term, count in Counter(terms).items() if count > 1] == []


def test_the_same_terms() -> None:
    """Both pages have the same pairs in the same order."""
    assert _terms(CHINESE / "glossary.md") == _terms(ENGLISH / "glossary.md") != []
