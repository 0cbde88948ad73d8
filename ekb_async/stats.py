"""A snapshot of what a session has done."""

from __future__ import annotations

import msgspec


class LaneStats(msgspec.Struct, frozen=True, kw_only=True):
    """One rate-limited call since the session was opened."""

    queued: int
    """Jobs waiting for a slot, those between two attempts included."""
    running: int
    """Calls on the network now."""
    sent: int
    """Attempts that left this machine."""
    succeeded: int
    failed: int
    maybe_billed: int
    """Attempts made again after an answer was lost, so that the call may have been paid for twice."""
    throttled: int
    """Attempts the vendor refused for the rate."""
    utilisation: float
    """Attempts sent per slot the configured rate offered between the first and the latest of them; 0 to 1."""


class BatchStats(msgspec.Struct, frozen=True, kw_only=True):
    """One batched call since the session was opened."""

    keys: int
    """IDs sent; one that was asked for by several callers at once counts once."""
    requests: int
    mean_batch: float
    """IDs per request."""


class SessionStats(msgspec.Struct, frozen=True, kw_only=True):
    """What `EkbSession.stats` returns."""

    ocr: LaneStats
    verify: LaneStats
    verify_by_id: LaneStats
    verify_by_fields: LaneStats
    invoice_url: BatchStats
    invoice_details: BatchStats
