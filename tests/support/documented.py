"""Programs in the documentation, executed as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ekb_async.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
_DOCUMENTS = ROOT / "docs" / "en"


def program_of(document: Path, containing: str) -> str:
    """Return the only program with this text in a document."""
    programs: list[str] = re.findall(
        r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (program,) = [each for each in programs if containing in each]
    return program


def names_of_program(
    containing: str, box: Sandbox, monkeypatch: pytest.MonkeyPatch, document: str = "sessions.md"
) -> dict[str, Any]:
    """Return the names that the only program with this text in a document defines, set up for a sandbox."""
    program = program_of(_DOCUMENTS / document, containing)
    monkeypatch.setenv("EKB_BASE_URL", box.base_url)
    monkeypatch.setenv("EKB_APP_KEY", box.credentials.app_key)
    monkeypatch.setenv("EKB_APP_SECURITY", box.credentials.app_security)
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(program, document, "exec", dont_inherit=True), names)  # noqa: S102 - the document's own
    return names
