"""The migrations of a database, read from its SQL files.

A statement ends with a semicolon at the end of a line, so no line within a statement may end with one.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Literal


@cache
def steps(database: Literal["postgres", "backlog_file"]) -> tuple[tuple[str, ...], ...]:
    """Return the statements of each migration; the first one leads from version 0, without tables, to version 1."""
    found = sorted(files("ekb_async.storage.migrations").joinpath(database).iterdir(), key=lambda each: each.name)
    scripts = [each.read_text(encoding="utf-8") for each in found if each.name.endswith(".sql")]
    return tuple(tuple(filter(None, map(str.strip, script.split(";\n")))) for script in scripts)
