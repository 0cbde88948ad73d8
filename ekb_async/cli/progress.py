"""The progress of a command: lines that change on a terminal, a plain line every few seconds elsewhere.

It is written to standard error. The rate is that of the last half minute, or of the time that a meter is made for: an
average over a whole day would hide that the vendor has become slow. On a narrow terminal the number of what is done
stays whole, and other parts are left out.
"""

from __future__ import annotations

import abc
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple, Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.spinner import Spinner
from rich.style import Style
from rich.text import Text

from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.output import say, shown, write_line

Detail = Sequence[str]
"""The parts of a line, the most important first; those at the end are left out if there is no room."""


class Outlook(NamedTuple):
    """The rate, as text, and the seconds left, None if they are not known."""

    rate: str
    left: float | None


class Meter:
    """Computes the rate of the last `window` seconds, and the time left; `now` is in seconds of any clock."""

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
    """Return the display of a `with` block; with `stays`, its first line remains on the screen at the end."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return _Screen(title, stays=stays)
    return _PlainLines(title)


def rate_text(rate: float | None) -> str:
    """Return `0.98/s`, `1,200/s`, or "" for None."""
    if rate is None:
        return ""
    return texts("{rate}/s", rate=f"{rate:.2f}" if rate < 10 else f"{rate:,.0f}")


def duration(seconds: float) -> str:
    """Return `45 s`, `3 min 20 s`, `2 h 46 min`."""
    rounded = math.ceil(seconds)
    if rounded < 60:
        return texts("{seconds} s", seconds=rounded)
    if rounded < 3600:
        return texts("{minutes} min {seconds} s", minutes=rounded // 60, seconds=rounded % 60)
    return texts("{hours:,} h {minutes} min", hours=rounded // 3600, minutes=rounded % 3600 // 60)


class _Numbers(NamedTuple):
    """What is shown: the numbers, and the texts as far as they are not empty."""

    done: int = 0
    total: int | None = None
    failed: str = ""
    rate: str = ""
    left: str = ""
    details: Sequence[Detail] = ()


class Display(abc.ABC):
    """Shows the progress of a command, from the start to the end of a `with` block."""

    def __init__(self) -> None:
        self._meter = Meter()

    def __enter__(self) -> Self:
        return self

    @abc.abstractmethod
    def __exit__(self, *_: object) -> None: ...

    def update(
        self,
        *,
        done: int,
        failed: int,
        total: int | None,
        outlook: Outlook | None = None,
        details: Sequence[Detail] = (),
    ) -> None:
        """Update the numbers; `done` includes `failed`, `total` is None if it is not known.

        Without an `outlook`, it is computed from the rate of all items together. Each of the `details` is a line.
        """
        self._meter.mark(time.monotonic(), done)
        if outlook is None:
            remaining = 0 if total is None else total - done
            outlook = Outlook(rate_text(self._meter.rate), self._meter.left(remaining) if remaining > 0 else None)
        left = "" if outlook.left is None else texts("{duration} left", duration=duration(outlook.left))
        failures = texts("{count:,} failed", count=failed) if failed else ""
        self._show(_Numbers(done, total, failures, outlook.rate, left, details))

    @abc.abstractmethod
    def _show(self, numbers: _Numbers) -> None: ...

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

    def _show(self, numbers: _Numbers) -> None:
        done, total, failed, rate, left, details = numbers
        count = f"{done:,}" if total is None else texts("{done:,} of {total:,}", done=done, total=total)
        parts = [each for each in (count, failed, rate, left) if each]
        lines = [texts(", ").join(each) for each in (parts, *details)]
        self._latest = texts("{title}: {progress}", title=self._title, progress=texts("; ").join(lines))
        now = time.monotonic()
        if now - self._printed_at >= LIMITS.seconds_between_lines:
            say(self._latest)
            self._printed_at, self._printed = now, self._latest


class _Screen(Display):
    def __init__(self, title: str, *, stays: bool) -> None:
        super().__init__()
        self._stays = stays
        self._lines = _Lines(title)
        self._live = self._new_live(transient=not stays)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.numbers = self._lines.numbers._replace(details=())
        self._live.stop()

    def _show(self, numbers: _Numbers) -> None:
        self._lines.numbers = numbers

    def write(self, line: bytes) -> None:
        # The lines and the results share the screen.
        with self._away() if sys.stdout.isatty() else nullcontext():
            super().write(line)

    def say(self, text: str) -> None:
        # Above the lines that change.
        self._live.console.print(Text(shown(text)), soft_wrap=True)

    def _new_live(self, *, transient: bool) -> Live:
        return Live(self._lines, console=Console(stderr=True), refresh_per_second=8, transient=transient)

    @contextmanager
    def _away(self) -> Iterator[None]:
        self._live.transient = True
        self._live.stop()
        yield
        self._live = self._new_live(transient=not self._stays)
        self._live.start()


class _Lines:
    """The lines on a terminal, drawn in another thread, so that all texts are made before."""

    def __init__(self, title: str) -> None:
        self.numbers = _Numbers()
        self._title = title
        self._began = time.monotonic()
        self._spinner: Spinner | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Two columns are left for the ^C that the terminal echoes, which would break the line.
        width = max(1, options.max_width - 2)
        numbers = self.numbers
        yield from self._first_line(console, options, numbers, width)
        for detail in numbers.details:
            yield Segment("  ")
            line = Text(_fitting(detail, width - 2), style="dim", no_wrap=True, overflow="ellipsis", end="")
            line.truncate(max(1, width - 2), overflow="ellipsis")
            yield line
            yield Segment.line()

    def _first_line(
        self, console: Console, options: ConsoleOptions, numbers: _Numbers, width: int
    ) -> Iterator[Segment | Text | ProgressBar]:
        done, total = numbers.done, numbers.total
        count = f"{done:,}" if total is None else f"{done:,}/{total:,}"
        parts = {"spinner": self._frame(console), "title": self._title, "count": count}
        parts |= {"failed": numbers.failed, "rate": numbers.rate, "left": numbers.left}
        for name in ("rate", "title", "spinner", "left", "failed"):
            if _width_of(parts.values()) <= width:
                break
            parts[name] = ""
        room = width - _width_of(parts.values()) - 1
        before = [each for each in (parts["spinner"], parts["title"]) if each]
        yield Segment(" ".join(before))
        if room >= LIMITS.least_bar_columns:
            yield Segment(" " if before else "")
            bar = ProgressBar(total=total, completed=done, width=room, pulse=total is None)
            yield from console.render(bar, options.update(width=room))
            before.append("bar")
        for name, style in (("count", ""), ("failed", "red"), ("rate", "cyan"), ("left", "dim")):
            if parts[name]:
                yield Segment(" " if before else "")
                yield Segment(parts[name], Style.parse(style))
                before.append(name)
        yield Segment.line()

    def _frame(self, console: Console) -> str:
        if self._spinner is None:
            self._spinner = Spinner("line" if console.options.ascii_only else "dots")
        return str(self._spinner.render(time.monotonic() - self._began))


def _width_of(parts: Iterable[str]) -> int:
    """Return the columns that the parts take with blanks between them, without those that are empty."""
    widths = [cell_len(each) for each in parts if each]
    return sum(widths) + max(0, len(widths) - 1)


def _fitting(parts: Detail, width: int) -> str:
    """Return as many of the parts, from the first on, as fit in so many columns."""
    line = ""
    for part in parts:
        longer = f"{line} · {part}" if line else part
        if line and cell_len(longer) > width:
            break
        line = longer
    return line
