"""Response bodies from the vendor's documentation, with shortened signatures in their URLs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMES = ("ocr", "verify", "urls", "details")


def body(name: str) -> bytes:
    """Return one body in the vendor's format: compact, UTF-8, not escaped."""
    return _compact(json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8")))


def many_lines(count: int) -> bytes:
    """Return the details of an invoice with `count` lines, each with its schema, as the vendor sends them."""
    (line,) = json.loads(body("details"))["items"]
    return _compact({"items": [_line(line, n) for n in range(count)]})


def _line(line: dict[str, Any], n: int) -> dict[str, Any]:
    name, quantity, amount = (f"E_system_发票明细_{each}" for each in ("name", "数量", "金额"))
    price = line[amount] | {"standard": f"{n + 1}00.05"}
    return line | {"id": f"line-{n}", name: f"*餐饮服务*餐费{n}", quantity: f"{n}", amount: price}


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
