"""The catalogue is complete: every text has Chinese, in the words of one glossary, and no text is superfluous."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any

import pytest
from babel.messages.mofile import read_mo

from ekb_async.models.kinds import InvoiceKind
from tests.support.catalogue import COMPILED, entries, read_catalogue, texts_of_package
from tests.support.pages import CHINESE, CHINESE_README, tokens_of

_CHINESE = "[\u4e00-\u9fff]"
_ASCII_MARKS = re.compile(rf"{_CHINESE} ?[,;:!?()]|[,;!?()] ?{_CHINESE}|{_CHINESE}\.(?:\s|$|{_CHINESE})")
_TO_BE_TYPED = re.compile(r"“[^”]*”|企业ID:\w+")
_FORBIDDEN = {
    "查验": "验真",
    "辨识": "识别",
    "识读": "识别",
    "供应商": "易快报 (a 供应商 is a seller)",
    "任务队列": "任务库",
    "积压": "任务库",
    "扣费": "计费",
    "收费": "计费",
    "发票行": "发票明细",
    "票据台账": "发票台账",
    "参考号": "业务编号",
    "列表文件夹": "文件夹",
    "文件目录": "文件夹",
    "压缩文件": "压缩包",
    "存取令牌": "访问令牌",
    "帐": "账",
    "您": "no pronoun",
}
"""Words that stand for another one of the glossary in CONTRIBUTING, and that one."""
_OF_THE_VENDOR = ("发票查验",)
"""Names that the vendor gives to its own features."""


def _translations() -> dict[Any, str]:
    return {key: "".join(text or ()) for key, text in entries(read_catalogue()).items()}


def _documentation() -> Iterator[str]:
    """Yield the prose of the Chinese documentation, without code and the targets of links."""
    for page in (CHINESE_README, *CHINESE.rglob("*.md")):
        for token in tokens_of(page):
            yield "".join(child.content if child.type == "text" else "\n" for child in token.children or ())


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_has_exactly_the_texts_of_the_package() -> None:
    """Update it with `python -m tests.support.catalogue`."""
    assert _translations().keys() == texts_of_package()


def test_every_text_has_chinese() -> None:
    """A text without Chinese would be shown in English."""
    assert [key for key, text in _translations().items() if not text] == []


def test_values_are_those_of_the_text() -> None:
    """A value that is missing in one language is lost, and an additional one fails when the text is shown."""
    for (_, text), translated in _translations().items():
        texts = (text,) if isinstance(text, str) else text
        if translated and any("{" in each for each in (*texts, translated)):
            assert _fields(translated) == set().union(*map(_fields, texts)), translated


def test_compiled_is_of_the_catalogue() -> None:
    """What programs read is what people edit."""
    with COMPILED.open("rb") as file:
        assert entries(read_mo(file)) == entries(read_catalogue())


def test_chinese_punctuation() -> None:
    """Marks between and after Chinese characters are Chinese ones, but in what is to be typed, and on invoices."""
    printed = {kind.label for kind in InvoiceKind}
    texts = [*_translations().values(), *_documentation()]
    prose = {text: _TO_BE_TYPED.sub("", text) for text in texts if text not in printed}
    assert [text for text, without in prose.items() if _ASCII_MARKS.search(without)] == []


@pytest.mark.parametrize("word", _FORBIDDEN)
def test_one_word_for_one_thing(word: str) -> None:
    """The glossary is kept."""
    for text in [*_translations().values(), *_documentation()]:
        for name in _OF_THE_VENDOR:
            text = text.replace(name, "")  # noqa: PLW2901 - what is left is of our own
        assert word not in text, f"{text}: {_FORBIDDEN[word]}"
