"""What `ekb doctor` writes to standard output: lines for a person, or one JSON object."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ekb_async.cli.doctor.findings import Finding, State, shown_name
from ekb_async.cli.doctor.limits import LIMITS
from ekb_async.cli.language import texts
from ekb_async.cli.output import write_line

_MARKS = {State.OK: "✓", State.FAILED: "✗", State.SKIPPED: "–", State.WARNING: "!"}
_COLOURS = {State.OK: "green", State.FAILED: "bold red", State.SKIPPED: "dim", State.WARNING: "yellow"}


class Lines:
    """Lines for a person, written as the findings come: wrapped on a terminal, one per text elsewhere."""

    def __init__(self, names: Iterable[str]) -> None:
        self._console = Console(highlight=False)
        self._marks = _MARKS if _can_be_written("".join(_MARKS.values())) else _words()
        self._mark_width = max(map(cell_len, self._marks.values()))
        self._name_width = max(cell_len(shown_name(name)) for name in names)
        self._indent = self._mark_width + self._name_width + 2
        self._width = shutil.get_terminal_size().columns - self._indent if sys.stdout.isatty() else None

    def show(self, name: str, finding: Finding) -> None:
        """Write a finding: mark, name and what was found, and below it what to do."""
        mark = set_cell_size(self._marks[finding.state], self._mark_width)
        first, *others = [*self._wrapped(finding.detail), *self._wrapped(finding.advice)]
        head = Text.assemble(
            (mark, _COLOURS[finding.state]), f" {set_cell_size(shown_name(name), self._name_width)} ", first
        )
        for line in (head, *(Text(" " * self._indent + each) for each in others)):
            self._console.print(line, soft_wrap=True)

    def _wrapped(self, text: str) -> Iterator[str]:
        if self._width is None or not text:
            yield from filter(None, [text])
            return
        # By the cells of the terminal, of which a Chinese character takes two.
        for line in Text(text).wrap(self._console, max(self._width, LIMITS.narrowest_columns)):
            yield line.plain.rstrip()


def _words() -> dict[State, str]:
    """Return what stands in place of the marks where the encoding of standard output lacks them."""
    return {
        State.OK: texts.word("check", "ok"),
        State.FAILED: texts.word("check", "FAIL"),
        State.SKIPPED: "-",
        State.WARNING: texts.word("check", "warn"),
    }


def write_json(findings: dict[str, Finding]) -> None:
    """Write all findings as one JSON object, in UTF-8."""
    checks = [
        {"name": name, "state": finding.state, "detail": finding.detail, "advice": finding.advice}
        for name, finding in findings.items()
    ]
    is_ok = all(finding.state is not State.FAILED for finding in findings.values())
    write_line(msgspec.json.encode({"ok": is_ok, "checks": checks}))


def _can_be_written(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
