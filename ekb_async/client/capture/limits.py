"""The tunables of captures."""

from __future__ import annotations

import msgspec


class CaptureLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a bundle of captured exchanges, and of what waits to be written to it."""

    exchanges: int = 5_000
    """Exchanges in a bundle; what comes later is left out."""
    bundle_bytes: int = 64 * 1024 * 1024
    """Bytes of all exchanges of a bundle."""
    body_bytes: int = 1024 * 1024
    """Bytes of one body that are stored; the largest documented one has a few hundred kilobytes."""
    text_bytes: int = 16 * 1024
    """Bytes of a body that is no JSON, such as a page, that are stored."""
    waiting_bytes: int = 64 * 1024 * 1024
    """Bytes of bodies that wait in memory to be written; what comes faster is left out."""
    recent_secrets: int = 64
    """Tokens and signatures that are searched in each exchange, the latest ones."""


LIMITS = CaptureLimits()
