"""Tunables of the session room."""

from __future__ import annotations

import msgspec


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the calls of interfaces that the package does not declare."""

    request_queues: int = 100
    """Interfaces with a queue; a path with an ID in it would otherwise give each ID a queue of its own."""
    default_rate: float = 100.0
    """Starts a second of billed calls without a rate."""
    most_rate: float = 1_000.0
    """The highest rate."""


LIMITS = SessionLimits()
