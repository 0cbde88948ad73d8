"""Where the behaviour of backlogs is tried out: in a file, and in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

import pytest

HOMES = ("file", "postgres")

Place = Path | str


def place_in(request: pytest.FixtureRequest) -> Place:
    """What to open in the home that the fixture of a test is asked for."""
    if request.param == "file":
        directory: Path = request.getfixturevalue("tmp_path")
        return directory / "b.sqlite"
    dsn: str = request.getfixturevalue("empty_database")
    return dsn
