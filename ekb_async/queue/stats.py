"""Counts of what a session has done, returned as immutable snapshots."""

from __future__ import annotations

import msgspec

from ekb_async.aio.batcher import BatchStats


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one rate-limited call since the session was opened."""

    queued: int
    """Jobs that wait for a slot, including those between two attempts."""
    running: int
    """Calls under way now."""
    sent: int
    """Attempts that left this machine."""
    succeeded: int
    failed: int
    maybe_billed: int
    """Attempts repeated after an answer was lost, for which the call may have been billed twice."""
    throttled: int
    """Attempts that the vendor refused for the rate."""
    utilisation: float
    """Attempts per slot of the configured rate, from the first attempt to the latest; 0 to 1."""


class QueueCounts:
    """The running counts behind `QueueStats`; `rate` is the configured rate in starts per second."""

    def __init__(self, rate: float) -> None:
        self.succeeded = 0
        self.failed = 0
        self.maybe_billed = 0
        self.throttled = 0
        self._rate = rate
        self._sent = 0
        self._first_sent = 0.0
        self._latest_sent = 0.0

    def note_sent(self, now: float) -> None:
        if not self._sent:
            self._first_sent = now
        self._latest_sent = now
        self._sent += 1

    def snapshot(self, *, queued: int, running: int) -> QueueStats:
        slots = 1 + (self._latest_sent - self._first_sent) * self._rate
        return QueueStats(
            queued=queued,
            running=running,
            sent=self._sent,
            succeeded=self.succeeded,
            failed=self.failed,
            maybe_billed=self.maybe_billed,
            throttled=self.throttled,
            utilisation=min(1.0, self._sent / slots),
        )


class SessionStats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of a session's queues and batches, as `EkbSession.stats` returns them."""

    ocr: QueueStats
    verify: QueueStats
    verify_by_id: QueueStats
    verify_by_fields: QueueStats
    invoice_url: BatchStats
    invoice_details: BatchStats
    ledger: BatchStats
    staff: BatchStats
    requests: dict[str, QueueStats] = {}
    """Counts of `EkbSession.request` with a rate or billed, by interface."""
