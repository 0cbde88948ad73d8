"""The progress of a command: a live bar on a terminal, a plain line every few seconds elsewhere.

It is written to standard error. The rate is that of the last half minute: an average over a whole day would hide that
the vendor has become slow.
"""

from __future__ import annotations

import abc
import math
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from ekb_async.cli.limits import LIMITS
from ekb_async.cli.output import say, write_line


class Outlook(NamedTuple):
    """The rate, as text, and the seconds left, None if they are not known."""

    rate: str
    left: float | None


class Meter:
    """Computes the rate of the last half minute and the time left; `now` is in seconds of any clock."""

    def __init__(self, window: float = LIMITS.rate_window_seconds) -> None:
        self._window = window
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, done: int) -> None:
        self._marks.append((now, done))
        while len(self._marks) > 2 and self._marks[1][0] <= now - self._window:
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


def display(title: str, *, stays: bool = False) -> Display:
    """Return the display of a `with` block; with `stays`, its bar remains on the screen at the end."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _Bar(title, stays=stays)
    return _PlainLines(title)


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


class Display(abc.ABC):
    """Shows the progress of a command, from the start to the end of a `with` block."""

    def __init__(self) -> None:
        self._meter = Meter()

    def __enter__(self) -> Self:
        return self

    @abc.abstractmethod
    def __exit__(self, *_: object) -> None: ...

    def update(self, *, done: int, failed: int, total: int | None, outlook: Outlook | None = None) -> None:
        """Update the numbers; `done` includes `failed`, `total` is None if it is not known.

        Without an `outlook`, it is computed from the rate of all items together.
        """
        self._meter.mark(time.monotonic(), done)
        if outlook is None:
            remaining = 0 if total is None else total - done
            outlook = Outlook(rate_text(self._meter.rate), self._meter.left(remaining) if remaining > 0 else None)
        left = "" if outlook.left is None else f"{duration(outlook.left)} left"
        count = f"{done:,}" if total is None else self._count(done, total)
        self._show(done, total, count, f"{failed:,} failed" if failed else "", outlook.rate, left)

    @abc.abstractmethod
    def _count(self, done: int, total: int) -> str:
        """Return the text for so many of all."""

    @abc.abstractmethod
    def _show(self, done: int, total: int | None, count: str, failed: str, rate: str, left: str) -> None:
        """Show the numbers, and the texts as far as they are not empty."""

    def write(self, line: bytes) -> None:
        """Write a line of results, given without its line break, to standard output."""
        write_line(line)

    def say(self, text: str) -> None:
        """Write a line for a person to standard error."""
        say(text)


class _PlainLines(Display):
    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._printed_at = time.monotonic()
        self._latest = self._printed = ""

    def __exit__(self, *_: object) -> None:
        if self._latest != self._printed:
            say(self._latest)

    def _count(self, done: int, total: int) -> str:
        return f"{done:,} of {total:,}"

    def _show(self, done: int, total: int | None, count: str, failed: str, rate: str, left: str) -> None:
        self._latest = f"{self._title}: {', '.join(filter(None, [count, failed, rate, left]))}"
        now = time.monotonic()
        if now - self._printed_at >= LIMITS.seconds_between_lines:
            say(self._latest)
            self._printed_at, self._printed = now, self._latest


class _Bar(Display):
    def __init__(self, title: str, *, stays: bool) -> None:
        super().__init__()
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

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _count(self, done: int, total: int) -> str:
        return f"{done:,}/{total:,}"

    def _show(self, done: int, total: int | None, count: str, failed: str, rate: str, left: str) -> None:
        self._progress.update(self._task, completed=done, total=total, count=count, failed=failed, rate=rate, left=left)

    def write(self, line: bytes) -> None:
        # The bar and the results share the screen.
        with self._paused() if sys.stdout.isatty() else nullcontext():
            super().write(line)

    def say(self, text: str) -> None:
        with self._paused():
            super().say(text)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self._progress.stop()
        yield
        self._progress.start()
