"""The progress of a run of a backlog: the rate of each kind of call beside its limit, and the time left.

Kinds run side by side, each at its own rate, so the time left is that of the slowest. Computed from the rate of all
calls together, a million look-ups, which take minutes, would seem to take a week.
"""

from __future__ import annotations

import time
from collections import defaultdict

from ekb_async.backlog import KindProgress, Progress
from ekb_async.cli.progress import Display, Meter, Outlook, rate_text


class RunProgress:
    """Shows the progress of a run on a display."""

    def __init__(self, screen: Display) -> None:
        self._screen = screen
        self._meters: defaultdict[str, Meter] = defaultdict(Meter)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        for name, kind in progress.kinds.items():
            self._meters[name].mark(now, kind.ended)
        unfinished = {name: kind for name, kind in progress.kinds.items() if kind.left}
        rates = [self._rate(name, kind) for name, kind in unfinished.items()]
        times = [self._left(name, kind) for name, kind in unfinished.items()]
        known = [seconds for seconds in times if seconds is not None]
        facts = [progress.trouble and f"waiting: {progress.trouble}", *rates]
        self._screen.update(
            done=progress.done,
            failed=progress.counts["failed"],
            total=progress.total,
            outlook=Outlook(", ".join(filter(None, facts)), max(known, default=None)),
        )

    def _rate(self, name: str, kind: KindProgress) -> str:
        rate = rate_text(self._meters[name].rate)
        if not rate:
            return ""
        return f"{name} {rate}" if kind.allowed is None else f"{name} {rate} of {kind.allowed:g}/s"

    def _left(self, name: str, kind: KindProgress) -> float | None:
        rate = self._meters[name].rate or kind.allowed
        return kind.left / rate if rate else None
