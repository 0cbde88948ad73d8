"""Walking through the command in one language, and collecting what it says in the other one."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import openpyxl
import pyarrow.parquet

from ekb_async.backlog.input.manifests.headings import KIND_NAMES, SYNONYMS
from ekb_async.models.kinds import InvoiceKind
from ekb_async.sandbox import Replay, Sandbox
from tests.support import command
from tests.support.catalogue import entries, read_catalogue
from tests.support.foreign import chinese_in, english_in
from tests.support.troubled_backlog import HOSTILE, PEOPLE

VENDOR_TEXTS = (
    "OCR智能票据识别",
    "开放接口",
    "识别失败",
    "第三方出现问题请稍后再试",
    "人员不存在",
    "查验成功所查发票不存在",
    "查验成功所查发票不一致",
    "该发票当日查验次数已达上限，请次日再试",
    "JSON请求参数不正确",
    "上传附件大小不能超过30M",
    "企业未开通OCR智能识别功能",
    "不允许调用该接口",
    "请先登录",
    "密钥无效",
    "系统繁忙，请稍后再试",
    "发票ID不存在",
    "没有任何权限",
    "文件不允许上传",
    "企业不存在",
    "id为：[corp]的企业没有发票查验接口权限，请联系管理员开通",
    "未开通功能，无权访问",
)
"""What the vendor answers, and names of licences: they are Chinese in every language."""

ENGLISH_DATA = (*HOSTILE, *PEOPLE.values(), "Finance & Tax", "north")
"""English in the data of the backlog with every kind of trouble."""
CHINESE_DATA = ("开票日期", *VENDOR_TEXTS)
"""Texts in that data which the catalogue has as well."""
TO_BE_TYPED = [name for names in (*SYNONYMS.values(), *KIND_NAMES.values()) for name in names if not name.isascii()]
"""Names of columns and kinds in manifests, which messages list in both languages."""
TO_BE_TYPED += ["任务号", "Task number"]
LOCALES = {"zh": "zh_CN.UTF-8", "en": "en_US.UTF-8"}
_SENTENCES = {"error", "hint", "warning", "message", "detail", "advice", "cause", "reason", "problem", "state_name"}
"""Members of JSON whose values are sentences; keys, and other values, are for programs or are the vendor's."""
_MARKUP = re.compile(r"<style.*?</style>|<script.*?</script>|<!--.*?-->|<[^>]*>", re.DOTALL)
_SHOWN_ATTRIBUTES = re.compile(r"""\b(?:alt|aria-label|placeholder|title)="([^"]*)\"""")
_VALUE = re.compile(r"\{[^}]*\}")
_HAN = re.compile("[\u4e00-\u9fff]")
_LABEL = 4
"""Chinese characters of a text that no data has by chance."""
_ERROR_CLASS = re.compile(r"\b[A-Z]\w+Error\b")


def chinese_labels() -> tuple[str, ...]:
    """Return the Chinese texts of the catalogue, as far as they stand between values."""
    printed = "".join(kind.label for kind in InvoiceKind)
    texts = ("".join(text) for text in entries(read_catalogue()).values())
    pieces = {piece.strip() for text in texts for piece in _VALUE.split(text)}
    return tuple(piece for piece in pieces if len(_HAN.findall(piece)) >= _LABEL and piece not in printed)


class Walk:
    """Runs commands in one language; `data` are texts of the test's own, and of the vendor."""

    def __init__(self, lang: str, directory: Path, data: Iterable[str] = ()) -> None:
        self.lang = lang
        self.directory = directory
        self.data = [str(directory), *data]
        self.foreign: list[tuple[str, list[str], str]] = []
        """Where a sentence of the other language was, the sentence, and the line that it is in."""
        self._labels: tuple[str, ...] | None = None

    async def ekb(self, *arguments: str | Path, box: Sandbox | Replay | None = None, **more: str) -> command.Finished:
        """Run the command in the locale of the language, and look at all that it writes."""
        where = " ".join(map(str, arguments))
        variables = {"EKB_LANG": "", "LC_ALL": LOCALES[self.lang], **more}
        ended = await command.ekb(*arguments, box=box, **variables)
        self.look(where, ended.messages)
        for line in ended.output.decode().splitlines():
            self.look(where, "\n".join(_sentences_of(line)))
        return ended

    def know_only_labels(self, data: Iterable[str], both: Container[str]) -> None:
        """Let Chinese be foreign only if it is a text of the catalogue: from now on the data is Chinese as well.

        `both` are texts of the catalogue that are in the data too.
        """
        self.data += data
        self._labels = tuple(label for label in chinese_labels() if label not in both)

    def look(self, where: str, text: str) -> None:
        """Note the sentences of the other language in a text."""
        for line in text.splitlines():
            if found := self._foreign_in(line):
                self.foreign.append((where, found, line))

    def _foreign_in(self, line: str) -> list[str]:
        if self.lang == "zh":
            return english_in(line, self.data)
        if self._labels is None:
            return chinese_in(line, self.data)
        return [label for label in self._labels if label in line]

    def look_at_file(self, path: Path) -> None:
        """Note the sentences of the other language in an export or a page."""
        assert path.stat().st_size, path
        for text in _READERS[path.suffix](path):
            self.look(path.name, text)


def _sentences_of(line: str) -> Iterator[str]:
    """Return the sentences in a line of output: all of it, or those in its JSON."""
    try:
        value = msgspec.json.decode(line)
    except msgspec.DecodeError:
        yield line
        return
    yield from _sentences_in(value) if isinstance(value, dict | list) else [line]


def _sentences_in(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            # The result is the vendor's.
            if key not in {"result", "raw"}:
                yield from _sentences_in(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _sentences_in(each, name)
    elif isinstance(value, str) and name in _SENTENCES:
        yield _ERROR_CLASS.sub("", value)


def _of_csv(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file):
            yield from row


def _of_json_lines(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield from _sentences_of(line)


def _of_workbook(path: Path) -> Iterator[str]:
    book = openpyxl.load_workbook(path)
    sheet: Any
    for sheet in book:
        yield sheet.title
        yield from filter(None, (sheet.oddHeader.center.text, sheet.oddFooter.center.text))
        for row in sheet.iter_rows():
            for cell in row:
                if isinstance(cell.value, str) and not cell.value.startswith("="):
                    yield cell.value
                if cell.comment is not None:
                    yield cell.comment.text


def _of_parquet(path: Path) -> Iterator[str]:
    table = pyarrow.parquet.read_table(path)
    yield from table.column_names
    for row in table.to_pylist():
        yield from (value for name, value in row.items() if isinstance(value, str) and name != "result")


def _of_page(path: Path) -> Iterator[str]:
    page = path.read_text(encoding="utf-8")
    yield from map(html.unescape, _SHOWN_ATTRIBUTES.findall(page))
    yield html.unescape(_MARKUP.sub("\n", page))


_READERS = {
    ".csv": _of_csv,
    ".jsonl": _of_json_lines,
    ".xlsx": _of_workbook,
    ".parquet": _of_parquet,
    ".html": _of_page,
}
