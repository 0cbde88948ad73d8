"""The names of columns and of kinds as people write them: in Chinese or English, in any case, with blanks."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping

from ekb_async.redaction.masking import redact

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "kind": ("type", "类型", "业务类型", "任务类型"),
    "file": ("file path", "path", "文件", "文件路径", "路径"),
    "invoice_id": ("发票ID",),
    "staff_id": ("员工ID", "人员ID"),
    "staff_email": ("员工邮箱", "邮箱", "email", "e-mail"),
    "staff_phone": ("员工手机", "手机号", "手机", "phone", "mobile"),
    "staff_code": ("员工工号", "工号", "员工编号", "staff number", "employee number"),
    "file_name": ("文件名", "文件名称"),
    "ref": ("reference", "编号", "业务编号", "备注编号", "参考编号"),
    "tenant": ("企业", "租户"),
    "code": ("invoice code", "发票代码"),
    "number": ("invoice number", "发票号码"),
    "date": ("invoice date", "开票日期"),
    "amount": ("金额",),
    "check_code": ("校验码",),
}
"""Further names of each column, which has its own name too. The columns are in the order of a row's values."""
COLUMNS = tuple(SYNONYMS)

KIND_NAMES: Mapping[str, tuple[str, ...]] = {
    "ocr": ("识别",),
    "verify": ("验真", "识别验真", "识别并验真"),
    "verify_by_id": ("按ID验真", "发票ID验真"),
    "verify_by_fields": ("四要素验真",),
    "url": ("链接", "文件链接"),
    "detail": ("明细", "发票明细"),
    "download": ("下载", "文件下载"),
}
"""The Chinese names of each kind."""

_MAX_CHARACTERS = 64
_SHOWN_CHARACTERS = 40
_LINKS = re.compile(r"[\s_\-\u200b\ufeff]+")


def _key(name: str) -> str:
    return _LINKS.sub("", unicodedata.normalize("NFKC", name).casefold())


def _chinese(names: tuple[str, ...]) -> str:
    return next(name for name in names if not name.isascii())


_COLUMN_OF = {_key(name): column for column, names in SYNONYMS.items() for name in (column, *names)}
_KIND_OF = {_key(name): kind for kind, names in KIND_NAMES.items() for name in names}

ACCEPTED_COLUMNS = (
    f"the columns are {', '.join(SYNONYMS)}, in Chinese {', '.join(_chinese(names) for names in SYNONYMS.values())}"
)
ACCEPTED_KINDS = f"{', '.join(KIND_NAMES)}, or in Chinese {', '.join(map(_chinese, KIND_NAMES.values()))}"


def column_of(heading: str) -> str:
    """Return the column that a heading means, "" if it is unknown."""
    return _known_column(heading) if len(heading) <= _MAX_CHARACTERS else ""


@functools.lru_cache(256)
def _known_column(heading: str) -> str:
    return _COLUMN_OF.get(_key(heading), "")


def kind_of(name: str) -> str:
    """Return the kind that a Chinese name means, "" if it is unknown."""
    return _KIND_OF.get(_key(name), "") if len(name) <= _MAX_CHARACTERS else ""


def shown(heading: str) -> str:
    """Return a heading as it stands in a message: in one line, cut, masked and escaped."""
    text = redact(" ".join(heading.split()))[:_SHOWN_CHARACTERS]
    return text if text.isprintable() else ascii(text)
