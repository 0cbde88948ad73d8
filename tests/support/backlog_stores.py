"""The two stores in which backlogs are tested: a file and a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import pytest

STORES = ("file", "postgres")

Location = Path | str


def location_in(request: pytest.FixtureRequest) -> Location:
    """Return the path or DSN to open for the store that a fixture's parameter names."""
    if request.param == "file":
        directory: Path = request.getfixturevalue("tmp_path")
        return directory / "b.sqlite"
    dsn: str = request.getfixturevalue("empty_database")
    return dsn
