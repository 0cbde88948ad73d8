"""Texts that are complete are translated by their templates."""

from __future__ import annotations

import time

import pytest

from ekb_async.i18n.rendered import Translator

MESSAGES = {
    "{0}: no such file": "{0}：没有这个文件",
    "{0}, line {1}: {2}": "{0} 第 {1} 行：{2}",
    "{0} of {1} rows": "{1} 行中的 {0} 行",
    "the file is empty": "文件是空的",
    "Look at it.": "请查看。",
    "Do it again.": "请重做。",
    "a set {{0}} of {0}": "{0} 的集合 {{0}}",
}


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("the file is empty", "文件是空的"),
        ("a: b.pdf: no such file", "a: b.pdf：没有这个文件"),
        ("list.csv, line 3: the file is empty", "list.csv 第 3 行：文件是空的"),
        ("list.csv, line 3: x.pdf: no such file", "list.csv 第 3 行：x.pdf：没有这个文件"),
        ("3 of 12 rows", "12 行中的 3 行"),
        ("a set {0} of {x}", "{x} 的集合 {0}"),
        ("the file is empty; b.pdf: no such file", "文件是空的；b.pdf：没有这个文件"),
        ("x.pdf: the file is empty", "x.pdf：文件是空的"),
        (
            "list.csv, line 3: x.pdf: no such file\nlist.csv, line 4: the file is empty",
            "list.csv 第 3 行：x.pdf：没有这个文件\nlist.csv 第 4 行：文件是空的",
        ),
        ("a.csv, line 2: b of c rows", "a.csv 第 2 行：c 行中的 b 行"),
        ("x.pdf: 识别失败", "x.pdf: 识别失败"),
        ("Look at it. Do it again.", "请查看。请重做。"),
        ("识别失败", "识别失败"),
        ("nothing like it: at all", "nothing like it: at all"),
        ("", ""),
    ],
)
def test_translates(text: str, translated: str) -> None:
    """Values stay as they are, unless they are messages themselves; so do texts that are unknown."""
    assert Translator(MESSAGES).translate(text) == translated


def test_hostile_text_is_cheap() -> None:
    """A long text of separators takes no longer than it takes to look at it."""
    translator, began = Translator(MESSAGES), time.perf_counter()
    for text in (": " * 1_900, ", line " * 500, "; : " * 1_000, "x" * 100_000):
        assert translator.translate(text) == text
    translator.translate("a of b rows: " * 300)
    assert time.perf_counter() - began < 1
