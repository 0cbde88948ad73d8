"""The progress of a command: a live bar on a terminal, a plain line every few seconds elsewhere.

It is written to standard error. The rate is that of the last half minute: an average over a whole day would hide that
the vendor has become slow.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from ekb_async.cli.limits import LIMITS
from ekb_async.cli.output import say, write_line


class Outlook(NamedTuple):
    """The rate, as text, and the seconds left, None if they are not known."""

    rate: str
    left: float | None


class Display(Protocol):
    """Shows the progress of a command; `done` includes `failed`."""

    def update(self, *, done: int, failed: int, total: int, outlook: Outlook | None = None) -> None:
        """Update the numbers. Without an `outlook`, it is computed from the rate of all items together."""

    def write(self, line: bytes) -> None:
        """Write a line of results, given without its line break, to standard output."""

    def say(self, text: str) -> None:
        """Write a line for a person to standard error."""


class Meter:
    """Computes the rate of the last half minute and the time left; `now` is in seconds of any clock."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, done: int) -> None:
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - LIMITS.rate_window_seconds:
            self._marks.popleft()

    @property
    def rate(self) -> float | None:
        """Items per second; None if not known yet."""
        if len(self._marks) < 2:
            return None
        (began, at_first), (ended, at_last) = self._marks[0], self._marks[-1]
        if ended - began < LIMITS.min_rate_seconds or at_last <= at_first:
            return None
        return (at_last - at_first) / (ended - began)

    def left(self, remaining: int) -> float | None:
        """Return the seconds until the remaining items are done, None if not known yet."""
        rate = self.rate
        return None if rate is None else remaining / rate


@contextmanager
def display(title: str, *, stays: bool = False) -> Iterator[Display]:
    """Show the progress of the block; with `stays`, the bar remains on the screen at its end."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        bar = _Bar(title, stays=stays)
        with bar:
            yield bar
    else:
        lines = _PlainLines(title)
        try:
            yield lines
        finally:
            lines.end()


def rate_text(rate: float | None) -> str:
    """Return `0.98/s`, `1,200/s`, or "" for None."""
    if rate is None:
        return ""
    return f"{rate:.2f}/s" if rate < 10 else f"{rate:,.0f}/s"


def duration(seconds: float) -> str:
    """Return `45 s`, `3 min 20 s`, `2 h 46 min`."""
    rounded = math.ceil(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600:,} h {rounded % 3600 // 60} min"


def _outlook(meter: Meter, remaining: int) -> Outlook:
    return Outlook(rate_text(meter.rate), meter.left(remaining) if remaining > 0 else None)


def _left(outlook: Outlook) -> str:
    return "" if outlook.left is None else f"{duration(outlook.left)} left"


class _PlainLines:
    def __init__(self, title: str) -> None:
        self._title = title
        self._meter = Meter()
        self._printed_at = time.monotonic()
        self._latest = ""
        self._printed = ""

    def update(self, *, done: int, failed: int, total: int, outlook: Outlook | None = None) -> None:
        now = time.monotonic()
        self._meter.mark(now, done)
        outlook = outlook or _outlook(self._meter, total - done)
        facts = [f"{done:,} of {total:,}", f"{failed:,} failed" if failed else "", outlook.rate, _left(outlook)]
        self._latest = f"{self._title}: {', '.join(filter(None, facts))}"
        if now - self._printed_at >= LIMITS.seconds_between_lines:
            self._print(now)

    def write(self, line: bytes) -> None:
        write_line(line)

    def say(self, text: str) -> None:
        say(text)

    def end(self) -> None:
        if self._latest != self._printed:
            self._print(time.monotonic())

    def _print(self, now: float) -> None:
        say(self._latest)
        self._printed_at, self._printed = now, self._latest


class _Bar:
    def __init__(self, title: str, *, stays: bool) -> None:
        self._meter = Meter()
        # Two columns are left for the ^C that the terminal echoes, which would break the line.
        console = Console(stderr=True, width=shutil.get_terminal_size().columns - 2)
        self._progress = Progress(
            SpinnerColumn("line" if console.options.ascii_only else "dots"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}", markup=False),
            TextColumn("{task.fields[failed]}", style="red", markup=False),
            TextColumn("{task.fields[rate]}", style="cyan", markup=False),
            TextColumn("{task.fields[left]}", style="dim", markup=False),
            console=console,
            expand=True,
            transient=not stays,
        )
        self._task: TaskID = self._progress.add_task(title, total=None, count="", failed="", rate="", left="")

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, *, done: int, failed: int, total: int, outlook: Outlook | None = None) -> None:
        self._meter.mark(time.monotonic(), done)
        outlook = outlook or _outlook(self._meter, total - done)
        self._progress.update(
            self._task,
            completed=done,
            total=total,
            count=f"{done:,}/{total:,}",
            failed=f"{failed:,} failed" if failed else "",
            rate=outlook.rate,
            left=_left(outlook),
        )

    def write(self, line: bytes) -> None:
        if not sys.stdout.isatty():
            write_line(line)
            return
        self._progress.stop()  # the bar and the results share the screen
        write_line(line)
        self._progress.start()

    def say(self, text: str) -> None:
        self._progress.stop()
        say(text)
        self._progress.start()
