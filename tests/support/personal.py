"""Personal data of all kinds, and JSON of any shape with it in it."""

from __future__ import annotations

import json
import re

from hypothesis import strategies as st

PERSONAL = (
    "张无忌",
    "欧阳小美",
    "杭州云栖酒店管理有限公司",
    "上海市浦东新区世纪大道100号",
    "zhang.wuji@mingjiao-group.example",
    "13800138000",
    "0571-88886666",
    "110101199003074532",
    "11010119900307453X",
    "110101900307453",
    "6222020200112233445",
    "91330106MA2BCDEF7Q",
    "djg8LshfUkfM00:ID01sX9kq",
    "rGN3lum_4o00hM:031001900204:91068626",
    "24125856878656629625",
    "B22001240",
    "差旅报销-张无忌-2026年3月.pdf",
    "ID01xO4jZjprrx",
    "Wuji Zhang",
)
"""Values of the kinds that a bundle must not contain."""
PARTS = ("无忌", "欧阳", "小美", "云栖", "浦东", "世纪大道", "mingjiao", "88886666", "91068626", "LshfUkfM")
"""Parts of them that name somebody on their own, and are too long to come about by chance."""

NAMES = st.sampled_from(
    (
        *("value", "items", "data", "message", "msg", "errorMessage", "errorDetails", "error", "id", "name", "code"),
        *("type", "status", "requestId", "traceId", "title", "seller", "E_system_发票主体_销售方名称", "entityId"),
        *("total", "count", "region", "time", "createTime", "fileUrl", "form", "master", "u_项目", "x", "platform"),
        *PERSONAL,
    )
)
PIECES = st.sampled_from(
    (*PERSONAL, "发票", "不存在", "：", " ", "[", "]", "，", "<br>", "id为", "\n", '"', "\\", "/", "的企业没有权限")
)
TEXTS = st.one_of(st.sampled_from(PERSONAL), st.lists(PIECES, max_size=5).map(" ".join), st.text(max_size=8))
NUMBERS = st.one_of(st.integers(), st.sampled_from((13800138000, 110101199003074532, 6222020200112233445)))
VALUES = st.recursive(
    st.one_of(TEXTS, NUMBERS, st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES, inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=2).map(lambda value: json.dumps(value, ensure_ascii=False)),
    ),
    max_leaves=12,
)


def check_nothing_is_left(text: str) -> None:
    """Assert that no personal value is in a text, as it is or escaped in JSON."""
    for view in (text, re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)):
        left = [each for each in (*PERSONAL, *PARTS) if each.lower() in view.lower()]
        assert left == []
