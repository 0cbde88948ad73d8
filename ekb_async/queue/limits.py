"""Tunables of the queue room."""

from __future__ import annotations

import msgspec

from ekb_async.protocol.endpoints import MAX_DOWNLOAD_URLS


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of queues and streams, and the thresholds after which they give up."""

    front_jobs: int = MAX_DOWNLOAD_URLS
    """Jobs at the front of a queue that are kept in order: as many as one download-URL request takes."""
    stream_inputs: int = 200
    """Inputs that a stream holds at most, from accepting them until the consumer is done with their outcomes."""
    stream_content_bytes: int = 128 * 1024 * 1024
    """Bytes of content among these; a stream accepts no content beyond that, unless it holds no other."""
    rejections_in_a_row: int = 3
    """Calls in a row that fail with `AuthError` before all queued jobs fail with it: one may be an accident."""
    sending_seconds: float = 1.0
    """Time that a call with a slot has until it must be sent, even if that is after `max_wait`."""
    counted_jobs: int = 500
    """Length of a queue up to which an expired job's position is counted exactly; counting takes linear time."""
    latest_duration_share: float = 0.2
    """Weight of the latest call in the moving average of durations."""
    pace_answer_seconds: float = 0.1
    """Time that a query of a shared pace takes at most under ordinary conditions; more is reported as the reason of a
    wait.
    """


LIMITS = QueueLimits()
