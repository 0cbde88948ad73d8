"""The tunables of storage, without the times that the environment may set (see `timing`)."""

from __future__ import annotations

import msgspec


class StorageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits and waits of databases, processes and file names."""

    # PostgreSQL
    connections: int = 4
    """The size of the pool that is opened for a DSN."""
    connect_timeout_seconds: int = 5
    """How long opening a connection may take, and closing the pool."""
    answer_timeout_seconds: float = 10.0
    """How long one statement may take before its connection is closed."""
    goodbye_seconds: float = 2.0
    """How long closing a separate connection may take."""
    patience_seconds: float = 60.0
    """How long work is repeated while the database is away, unless the caller sets another time."""
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
