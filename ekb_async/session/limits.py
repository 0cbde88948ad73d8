"""Tunables of the session room."""

from __future__ import annotations

import msgspec


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of sessions and of pools of them."""

    # Calls of interfaces that the package does not declare
    request_queues: int = 100
    """Interfaces with a queue; a path with an ID in it would otherwise give each ID a queue of its own."""
    default_rate: float = 100.0
    """Starts a second of billed calls without a rate."""
    most_rate: float = 1_000.0
    """The highest rate."""

    # Accounts of tenants
    look_at_file_seconds: float = 1.0
    """How often a file of tenants in use is looked at for changes, at most."""
    look_patience_seconds: float = 1.0
    """How long a call of a tenant waits until the file was looked at."""
    ask_again_seconds: float = 5.0
    """How often a function is called again for a tenant whose keys were refused, at most."""
    answer_again_seconds: float = 10.0
    """How long it may take then, since looking for changes of the other tenants waits for it."""


LIMITS = SessionLimits()
