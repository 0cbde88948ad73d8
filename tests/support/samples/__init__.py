"""Sample bodies in the vendor's form, and the wire fields of every entity with their expected types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

ENTITY_FIELDS: dict[str, dict[str, str]] = json.loads((HERE / "entity-fields.json").read_text(encoding="utf-8"))
"""Entity -> wire field -> `text`, `money`, `date`, `flag`, `number` or `box`."""

LINE_ENTITY = "system_发票明细"


def sample(name: str) -> bytes:
    """Return the bytes of a sample body."""
    return (HERE / f"{name}.json").read_bytes()


def loaded(name: str) -> Any:
    """Return a sample body as JSON values, to change and encode with `dumped`."""
    return json.loads(sample(name))


def dumped(value: Any) -> bytes:
    """Encode JSON in the vendor's form: compact, UTF-8, not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def money(standard: Any, code: str = "CNY") -> dict[str, Any]:
    """Return a money object whose scale is a text, as in some answers of the vendor."""
    return {"standard": standard, "standardScale": "2", "standardNumCode": "156", "standardStrCode": code}


def verify_body(entity: str, form: Any, **item: Any) -> bytes:
    """Return the body of an OCR with verification, with one invoice."""
    master = {"id": "corp:code:1", "entityId": entity, "active": True, "form": form}
    defaults = {"master": master, "details": [], "message": "", "status": "NO_RESULT", "ischeck": True}
    return dumped({"items": [defaults | item]})
