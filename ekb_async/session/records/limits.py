"""Tunables of the records room."""

from __future__ import annotations

import msgspec


class RecordLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of what is remembered and repeated when records are looked up or read page by page."""

    known_parts: int = 50_000
    """Invoices whose part of the ledger is remembered by a session."""
    keys_at_once: int = 2_000
    """Keys of one call that are looked up together; the others follow, so that no step takes long."""
    refusing_parts: int = 1
    """Parts of the ledger that may refuse a look-up before the others are not asked either."""
    overlap: int = 3
    """Entries that a page repeats of the one before, which shows that none was skipped between them."""
    least_page: int = 50
    """Entries of the smallest page that is asked for."""
    step_back: int = 50
    """Entries by which the next page begins earlier if it repeats none of the one before; doubled each time."""
    steps_back: int = 30
    """Pages in a row that may begin earlier, after which entries are taken as they come."""
    pages_without_new: int = 100
    """Pages in a row with nothing new, after which the list is taken for one that repeats."""
    latest_ids: int = 20
    """IDs that a cursor contains, to find its place again."""
    border_seconds: int = 5
    """Seconds by which a search by time begins earlier, for documents that became visible a little late."""


LIMITS = RecordLimits()
