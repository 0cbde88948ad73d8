"""Bodies as the vendor sends them, and the wire fields of every entity with the type that each should have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

ENTITY_FIELDS: dict[str, dict[str, str]] = json.loads((HERE / "entity-fields.json").read_text(encoding="utf-8"))
"""Entity -> wire field -> `text`, `money`, `date`, `flag`, `number` or `box`."""

LINE_ENTITY = "system_发票明细"


def sample(name: str) -> bytes:
    """The bytes of one sample body."""
    return (HERE / f"{name}.json").read_bytes()


def loaded(name: str) -> Any:
    """One sample body as JSON values, to change and send through `dumped`."""
    return json.loads(sample(name))


def dumped(value: Any) -> bytes:
    """JSON as the vendor writes it: compact, UTF-8, not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def money(standard: Any, code: str = "CNY") -> dict[str, Any]:
    """A money object, with the scale as text, as it sometimes is."""
    return {"standard": standard, "standardScale": "2", "standardNumCode": "156", "standardStrCode": code}


def verify_body(entity: str, form: Any, **item: Any) -> bytes:
    """An OCR + verification reply with one invoice."""
    master = {"id": "corp:code:1", "entityId": entity, "active": True, "form": form}
    whole = {"master": master, "details": [], "message": "", "status": "NO_RESULT", "ischeck": True}
    return dumped({"items": [whole | item]})
