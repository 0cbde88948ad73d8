"""The tunables of storage, without the times that the environment may set (see `timing`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Share = Literal["pace", "tokens", "token_locks", "calls", "leases", "other"]
"""A kind of work with PostgreSQL, which has connections of its own."""

CONNECTIONS: Mapping[Share, int] = {
    "pace": 2,  # claims of slots, each for many buckets
    "tokens": 1,  # looks at access tokens, each for many enterprises
    "token_locks": 1,  # locks of access tokens that are being fetched from the vendor, for all enterprises
    "calls": 3,  # claims, marks and results of an engine's calls, and their plan
    "leases": 100,  # leases of runs, each of which keeps its connection
    "other": 4,  # the work of backlogs, and all else
}
"""How many connections of a pool each kind of work may use at the same time."""


class StorageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and waits of databases, processes and file names."""

    # PostgreSQL
    idle_seconds: float = 60.0
    """How long a connection of a pool stays open without use."""
    connect_timeout_seconds: int = 5
    """How long opening a connection may take, and closing the pool."""
    answer_timeout_seconds: float = 10.0
    """How long one statement may take before its connection is closed."""
    release_seconds: float = 1.0
    """How long a cancelled statement may take to end before its connection is closed."""
    patience_seconds: float = 60.0
    """How long work is repeated while the database is away, unless the caller sets another time."""
    looks_at_pooler: int = 3
    """How often two connections are compared to find out whether a pooler gives them one server process."""
    first_pause_seconds: float = 0.1
    """The pause before work is repeated; each is twice as long as the one before."""
    longest_pause_seconds: float = 2.0
    """The longest of these pauses."""

    # Processes
    ps_timeout_seconds: float = 5.0
    """How long the command `ps` may take to report a process."""

    # File names
    file_name_bytes: int = 240
    """Bytes of a name in UTF-8; file systems allow 255, and copies get endings of their own."""
    vendor_name_characters: int = 1_000
    """How many characters of a vendor's name are used; composing more would take too long."""
    suffix_characters: int = 10
    """How many characters at the end of a longer name are kept, for its suffix."""


LIMITS = StorageLimits()
