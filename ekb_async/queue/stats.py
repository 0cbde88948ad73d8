"""What a session has done: counted as it happens, handed out as snapshots."""

from __future__ import annotations

import msgspec

from ekb_async.aio.batcher import BatchStats


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
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


class QueueCounts:
    """The running counts behind `QueueStats`; `rate` is the configured one, in starts per second."""

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
    """What `EkbSession.stats` returns."""

    ocr: QueueStats
    verify: QueueStats
    verify_by_id: QueueStats
    verify_by_fields: QueueStats
    invoice_url: BatchStats
    invoice_details: BatchStats
