"""Finding sentences of the other language in what the command writes.

A test says which texts are its own data (names of files, texts of the vendor); they are left out first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TYPED = re.compile(
    r"`[^`\n]*`"  # code
    r"|(?<![\w.-])ekb(?: [\w.,/<>=:@\[\]{}|*-]+)+"  # a command line to copy
    r"|pip install [\w.\"'\[\]-]+(?: [\w-]+)*|export [A-Z_]+=\S+"
    r"|https?://\S+|(?<![\w-])--?[A-Za-z][\w-]*(?:=\S+)?|\x1b\[[0-9;]*m",
    re.ASCII,
)
_NAMES = (
    "JSON Lines",
    "Ekuaibao / Hesi",
    "app key",
    "app security",
    "Excel CSV",
    "INTEGER RANGE",
    "FLOAT RANGE",
)
"""Proper names, and the names of keys as the vendor's pages have them."""
_WORD = r"(?<![\w./:@<>=\-\[(])[A-Za-z]?[a-z]+(?![\w./@=\-(])"
_SENTENCE = re.compile(rf"{_WORD}(?: {_WORD})+", re.ASCII)
_CHINESE = re.compile("[\u3001-\u303f\u4e00-\u9fff\uff01-\uff5e]+")
_PRODUCT = ("易快报", "合思", "易快报 / 合思", "OCR智能识别", "发票查验", "企业", "。")


def english_in(text: str, data: Iterable[str] = ()) -> list[str]:
    """Return the runs of two or more English words that are neither data, nor names, nor something to type."""
    without = _without(text, data)
    for name in _NAMES:
        without = without.replace(name, "·")
    return _SENTENCE.findall(_TYPED.sub("·", without))


def chinese_in(text: str, data: Iterable[str] = ()) -> list[str]:
    """Return the Chinese in a text that is neither data nor the name of the product and its features."""
    return _CHINESE.findall(_without(text, (*data, *_PRODUCT[:5])))


def _without(text: str, data: Iterable[str]) -> str:
    for each in sorted(filter(None, data), key=len, reverse=True):
        text = text.replace(each, "·")
    return text
