"""Whether the calls of a session start more slowly than its rates allow, and why."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ekb_async.backlog.run.limits import LIMITS
from ekb_async.backlog.run.shown.waits import Wait

if TYPE_CHECKING:
    from ekb_async.session.session import EkbSession


class PaceWatch:
    """Looks at the pace of a session, at most once a second."""

    def __init__(self, session: EkbSession, allowed: Mapping[str, float]) -> None:
        self._session = session
        self._allowed = allowed
        self._metrics: Mapping[str, float] = {}
        self._seen_at = -1.0
        self._refused: dict[str, tuple[float, float]] = {}

    def waits(self, queued: Mapping[str, int]) -> Iterator[Wait]:
        """Yield what slows calls down; `queued` has how many calls of each kind wait for their turn."""
        if not queued or not self._session.used:
            return
        if (now := time.monotonic()) - self._seen_at >= 1:
            self._metrics, self._seen_at = self._session.metrics(), now
            for kind in self._allowed:
                self._note_refusals(kind, now)
        for kind, calls in queued.items():
            interval = 1 / self._allowed[kind] + self._session.config.rate_guard
            present = self._metrics[f"{kind}.interval_seconds"]
            if present * LIMITS.slow_pace_share > interval:
                _, refused_at = self._refused[kind]
                # A shared pace keeps the margin that earlier refusals have raised, those of other programs too.
                without_margin = present - self._metrics[f"{kind}.margin_seconds"]
                is_refused = (
                    now - refused_at < LIMITS.throttled_seconds or without_margin * LIMITS.slow_pace_share <= interval
                )
                yield Wait(reason="throttled" if is_refused else "pace", calls=calls)

    def _note_refusals(self, kind: str, now: float) -> None:
        count = self._metrics[f"{kind}.throttled"]
        before, refused_at = self._refused.get(kind, (0.0, float("-inf")))
        self._refused[kind] = count, now if count > before else refused_at
