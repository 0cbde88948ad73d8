"""What a run of a backlog shows while it works: each kind of paid call beside the rate it may have, and the time left.

Kinds go on side by side, each at a pace of its own, so the time left is that of the slowest; the rate of all together
would say that a million look-ups, which take minutes, will take a week.
"""

from __future__ import annotations

import time
from collections import defaultdict

from ekb_async.backlog import KindProgress, Progress
from ekb_async.cli.progress import Display, Meter, Outlook, rate_text


class RunProgress:
    """Shows the progress of a run on a display."""

    def __init__(self, shown: Display) -> None:
        self._shown = shown
        self._meters: defaultdict[str, Meter] = defaultdict(Meter)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        for name, kind in progress.kinds.items():
            self._meters[name].mark(now, kind.ended)
        at_work = {name: kind for name, kind in progress.kinds.items() if kind.left}
        rates = [self._rate(name, kind) for name, kind in at_work.items()]
        times = [self._left(name, kind) for name, kind in at_work.items()]
        known = [seconds for seconds in times if seconds is not None]
        facts = [progress.trouble and f"waiting: {progress.trouble}", *rates]
        self._shown.update(
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
