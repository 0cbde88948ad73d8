"""Limits of reading manifests and of paging through a backlog."""

from __future__ import annotations

import msgspec


class BacklogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a backlog reads at a time. Larger parts need more memory and delay a cancellation."""

    rows_per_import: int = 500
    """Rows of a manifest that are read and imported at a time."""
    import_seconds: float = 0.2
    """The time after which fewer rows are imported; local files are hashed in it."""
    given_seconds: float = 0.05
    """The same for rows from a program's iterable, which blocks the event loop as long as its next row takes."""
    largest_row: int = 2**63 - 1
    """The largest number of a row that a store can have."""
    rows_per_page: int = 200
    """Stored rows that are read at a time for results, exports and reports."""
    most_days_shown: int = 61
    """For how many days back the number of billed calls is shown at most; longer ago they are forgotten."""
    largest_budget: int = 2**53
    """The largest budget, in calls."""


LIMITS = BacklogLimits()
