"""Files are complete or absent, and what a killed process has left is removed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ekb_async.storage.atomic_files import prepare, write_whole
from tests.support.backlogs import names_in


@pytest.mark.skipif(sys.platform == "win32", reason="a file in use cannot be removed anyway")
def test_a_file_being_written_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing leftovers of killed processes spares a file that is being written in the same folder."""
    flush = os.fsync

    def remove_leftovers_meanwhile(descriptor: int) -> None:
        prepare(tmp_path)
        flush(descriptor)

    (tmp_path / ".ekb-0123456789abcdef.part").touch()
    monkeypatch.setattr(os, "fsync", remove_leftovers_meanwhile)
    write_whole(tmp_path / "report.html", b"page")
    assert (tmp_path / "report.html").read_bytes() == b"page"
    assert names_in(tmp_path) == ["report.html"]
