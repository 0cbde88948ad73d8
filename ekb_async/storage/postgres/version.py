"""The version of the tables, which stands in the comment of the table `ekb_call`; every role can read it."""

from __future__ import annotations

import re

from ekb_async.errors import StorageError
from ekb_async.storage.migrations.steps import steps

VERSION = "SELECT obj_description(to_regclass('ekb_call'), 'pg_class')"
"""Finds the comment; NULL without tables."""

_COMMENT = re.compile(r"ekb-async tables, version (\d{1,9})")


def comment_for(version: int) -> str:
    return f"ekb-async tables, version {version}"


def check_not_newer(comment: str | None) -> int | None:
    """Return the version in a comment; None without one. Raises `StorageError` if it is newer than this package's."""
    found = _COMMENT.fullmatch(comment or "")
    version, latest = int(found[1]) if found is not None else None, len(steps("postgres"))
    if version is not None and version > latest:
        raise StorageError(
            f"the tables of the database have version {version}, this program supports up to {latest}: update ekb-async"
        )
    return version
