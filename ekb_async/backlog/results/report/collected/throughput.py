"""Calls by the time at which they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from ekb_async.backlog.results.limits import LIMITS
from ekb_async.models.wire.coerce import CHINA


class Column(NamedTuple):
    """The start of a time span, and the numbers of calls that ended in it."""

    start: datetime
    done: int
    failed: int


class Throughput:
    """Calls by the time at which they ended, in columns wide enough to limit their number."""

    _WIDTHS = (60, 300, 900, 3_600, 21_600, 86_400, 604_800)
    _MONDAY = datetime(1970, 1, 5, tzinfo=CHINA).timestamp()

    def __init__(self) -> None:
        self.width = self._WIDTHS[0]
        """The width of a column, in seconds."""
        self._first: float | None = None
        self._last = 0.0
        self._ended: Counter[tuple[int, bool]] = Counter()

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The times of the first call and the last, None without one."""
        if self._first is None:
            return None
        return datetime.fromtimestamp(self._first, CHINA), datetime.fromtimestamp(self._last, CHINA)

    def add(self, ended_at: float, *, done: bool) -> None:
        """Add a call that ended, done or failed, at this time in epoch seconds."""
        if self._first is None:
            self._first = self._last = ended_at
        elif ended_at < self._first or ended_at > self._last:
            self._first, self._last = min(self._first, ended_at), max(self._last, ended_at)
            while self._column(self._last) - self._column(self._first) >= LIMITS.throughput_columns:
                self._widen()
        self._ended[int((ended_at - self._MONDAY) // self.width), done] += 1

    def columns(self) -> Iterator[Column]:
        """Yield all columns from the first call to the last, empty ones included."""
        if self._first is None:
            return
        for index in range(self._column(self._first), self._column(self._last) + 1):
            start = datetime.fromtimestamp(self._MONDAY + index * self.width, CHINA)
            yield Column(start, self._ended[index, True], self._ended[index, False])

    def _column(self, moment: float) -> int:
        return int((moment - self._MONDAY) // self.width)

    def _widen(self) -> None:
        wider = next((width for width in self._WIDTHS if width > self.width), 2 * self.width)
        finer, self._ended = self._ended, Counter()
        for (index, done), count in finer.items():
            self._ended[index * self.width // wider, done] += count
        self.width = wider
