"""Programs in the documentation, executed as they stand there."""

from __future__ import annotations

from typing import Any

import pytest

from ekb_async.sandbox import Sandbox
from tests.support.pages import ENGLISH, block_with


def names_of_program(
    containing: str, box: Sandbox, monkeypatch: pytest.MonkeyPatch, document: str = "sessions.md"
) -> dict[str, Any]:
    """Return the names that the only program with this text in a document defines, set up for a sandbox."""
    program = block_with(ENGLISH / document, containing).text
    monkeypatch.setenv("EKB_BASE_URL", box.base_url)
    monkeypatch.setenv("EKB_APP_KEY", box.credentials.app_key)
    monkeypatch.setenv("EKB_APP_SECURITY", box.credentials.app_security)
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(program, document, "exec", dont_inherit=True), names)  # noqa: S102 - the document's own
    return names
