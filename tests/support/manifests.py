"""Helpers for tests of manifests that are read without a backlog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from ekb_async import ManifestError, ManifestProblem
from ekb_async.backlog.input.manifest import Manifest
from ekb_async.backlog.input.rows.row import ManifestRow


def rows_in(path: Path, **options: Any) -> list[ManifestRow]:
    """Return the rows of a manifest."""
    manifest = Manifest(path, **options)
    try:
        return list(manifest.rows())
    finally:
        manifest.close()


def own_in(path: Path, **options: Any) -> list[dict[str, str]]:
    """Return the own columns of each row of a manifest."""
    return [msgspec.json.decode(row.own) if row.own else {} for row in rows_in(path, **options)]


def problems_in(path: Path, **options: Any) -> list[ManifestProblem]:
    """Return what is wrong with a manifest."""
    with pytest.raises(ManifestError) as caught:
        rows_in(path, **options)
    return list(caught.value.problems)


def written(path: Path, content: str) -> Path:
    """Write a manifest in UTF-8 with a byte order mark, as spreadsheets do, and return its path."""
    path.write_text(content, encoding="utf-8-sig")
    return path
