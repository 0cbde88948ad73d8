"""The two stores in which backlogs are tested: a file and a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import pytest

STORES = ("file", "postgres")

Location = Path | str


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest) -> Location:
    """Return the file or database to use for the backlog."""
    if request.param == "file":
        directory: Path = request.getfixturevalue("tmp_path")
        return directory / "b.sqlite"
    dsn: str = request.getfixturevalue("empty_database")
    return dsn
