"""The columns of a table of tasks, with headings in two languages.

New columns are added at the end, so that programs which read columns by position keep working.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

Value = str | int | bool | Decimal | date | datetime | None
Row = tuple[Value, ...]
"""One value per column, in column order."""


class Column(NamedTuple):
    """A column: its name for programs, its headings for people, the type of its values, and its width in characters.

    `own` is the name of the column among those that only the user knows, None if it is not one of them.
    """

    name: str
    english: str
    chinese: str
    type: type
    width: int
    own: str | None = None


Columns = Sequence[Column]

COLUMNS = (
    Column("ref", "Reference", "业务编号", str, 16),
    Column("kind", "Task", "任务类型", str, 12),
    Column("file", "File", "文件", str, 36),
    Column("invoice_id", "Invoice ID", "发票ID", str, 32),
    Column("state", "State", "状态", str, 10),
    Column("attempts", "Attempts", "调用次数", int, 11),
    Column("maybe_billed", "Maybe billed", "可能已计费次数", int, 16),
    Column("error_type", "Error type", "错误类型", str, 22),
    Column("error", "Error", "错误信息", str, 40),
    Column("manifest", "Manifest", "清单文件", str, 28),
    Column("line", "Line", "清单行号", int, 11),
    Column("invoice_kind", "Invoice kind", "发票种类", str, 28),
    Column("invoice_code", "Invoice code", "发票代码", str, 15),
    Column("invoice_number", "Invoice number", "发票号码", str, 23),
    Column("invoice_date", "Invoice date", "开票日期", date, 14),
    Column("total", "Total", "价税合计", Decimal, 14),
    Column("seller", "Seller", "销售方", str, 30),
    Column("buyer", "Buyer", "购买方", str, 30),
    Column("verified_id", "Verified invoice ID", "验真发票ID", str, 32),
    Column("usable", "Usable", "是否可用", bool, 11),
    Column("message", "Message", "验真提示", str, 40),
    Column("url", "URL", "文件链接", str, 40),
    Column("url_file_name", "File name", "文件名", str, 28),
    Column("detail_lines", "Detail lines", "明细行数", int, 14),
    Column("currency", "Currency", "币种", str, 11),
    Column("amount_excluding_tax", "Amount excluding tax", "不含税金额", Decimal, 22),
    Column("tax", "Tax", "税额", Decimal, 12),
    Column("deductible_tax", "Deductible tax", "可抵扣税额", Decimal, 17),
    Column("seller_tax_id", "Seller tax ID", "销售方税号", str, 23),
    Column("buyer_tax_id", "Buyer tax ID", "购买方税号", str, 23),
    Column("check_code", "Check code", "校验码", str, 24),
    Column("is_used", "Used", "是否已使用", bool, 13),
    Column("hint", "Hint", "处理建议", str, 40),
    Column("ended_at", "Ended at (UTC+8)", "结束时间（北京时间）", datetime, 23),
    Column("path", "Downloaded file", "下载文件", str, 40),
    Column("shared", "Same as another row", "与另一行相同", bool, 22),
    Column("id", "Task number", "任务号", int, 14),
    Column("is_verified", "Checked", "验真是否一致", bool, 14),
    Column("due_at", "Due (UTC+8)", "可验真时间（北京时间）", datetime, 23),
    Column("shared_with", "Shares call of task", "共用调用的任务号", int, 20),
    Column("shared_by", "Shared because", "共用原因", str, 16),
    Column("same_as", "Same invoice as task", "相同发票的首个任务号", int, 22),
    Column("source", "Answered by", "结果来源", str, 13),
    Column("document_id", "Document ID", "关联单据ID", str, 23),
    Column("staff_id", "Staff ID", "人员ID", str, 24),
    Column("warning", "Warning", "风险提示", str, 40),
    Column("added_at", "Added at (UTC+8)", "添加时间（北京时间）", datetime, 23),
)
TENANT = Column("tenant", "Tenant", "租户", str, 16)
_OWN_WIDTH = 18
_ADDED = {"archive": "所在压缩包"}
"""Own columns that adding files makes, with their Chinese headings."""


def column_of(name: str, width: int | None = None) -> Column:
    """Return the column of that name for another table, there with another width if one is given."""
    found = next(each for each in COLUMNS if each.name == name)
    return found if width is None else found._replace(width=width)


def columns_with(own: Iterable[str] = (), *, tenants: bool = False) -> Columns:
    """Return the columns of a table: those that every table has, those that only the user knows, the tenant last.

    The heading of an own column is as the user wrote it, with a number if the table has that heading already.
    """
    columns = (*COLUMNS, *own_columns(own, (*COLUMNS, TENANT)))
    return (*columns, TENANT) if tenants else columns


def own_columns(own: Iterable[str], others: Columns) -> Iterator[Column]:
    """Yield columns that only the user knows, with headings that none of the other columns of a table has."""
    taken = {_folded(heading) for column in others for heading in column[:3]}
    for name in own:
        heading = next(each for each in _numbered(name) if _folded(each) not in taken)
        taken.add(_folded(heading))
        chinese = _ADDED.get(heading, heading)
        yield Column(heading, heading, heading if _folded(chinese) in taken else chinese, str, _OWN_WIDTH, own=name)


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({number})" for number in itertools.count(2))


def _folded(heading: str) -> str:
    return heading.strip().casefold()


def names(columns: Columns, lang: str) -> list[str]:
    """Return headings that programs read: the English names, which never change, or the Chinese headings."""
    return [column.chinese if lang == "zh" else column.name for column in columns]


def headings(columns: Columns, lang: str) -> list[str]:
    """Return headings that people read."""
    return [column.chinese if lang == "zh" else column.english for column in columns]


def yes_or_no(value: bool, lang: str) -> str:  # noqa: FBT001 - the value, not an option
    """Return a flag as a word."""
    if lang == "zh":
        return "是" if value else "否"
    return "true" if value else "false"
