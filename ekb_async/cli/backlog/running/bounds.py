"""How far `ekb backlog run` goes: its options, and what it says when it has ended before all calls were made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import typer

from ekb_async.backlog import Summary
from ekb_async.cli.output import counted
from ekb_async.errors import ConfigError

LedgerFirst = Annotated[
    bool,
    typer.Option("--ledger-first", help="Ask the vendor's ledger first, which is free; pay for nothing it has."),
]
MaxCalls = Annotated[
    int | None,
    typer.Option("--max-calls", metavar="N", min=0, help="Send at most N billed calls, repeated ones included."),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="End at this local time: 18:00, the next one, or 2026-11-28T18:00."),
]


class RunBounds(NamedTuple):
    """The options of a run that limit what it pays for, as they were given."""

    ledger_first: bool
    max_calls: int | None
    until: str | None

    def arguments(self, *, of_next_run: bool = False) -> list[str]:
        """Return the options for a command line; for the next run, without bounds that would end it at once."""
        given = ["--ledger-first"] if self.ledger_first else []
        if self.max_calls is not None and (self.max_calls or not of_next_run):
            given.append(f"--max-calls {self.max_calls}")
        if self.until is not None and not of_next_run:
            given.append(f"--until {shlex.quote(self.until)}")
        return given

    def lines(self, summary: Summary, until: datetime | None, command: str) -> Iterator[str]:
        """Yield what the ledger answered, why the run has ended, and how to go on; `command` has no bounds."""
        if summary.saved:
            yield f"{counted(summary.saved, 'call was')} answered by the ledger and not paid for"
        if summary.stopped == "max_calls":
            yield f"Stopped after {counted(self.max_calls or 0, 'call')} that may be billed (--max-calls)."
        elif summary.stopped and until is not None:
            yield f"Stopped at {until:%Y-%m-%d %H:%M} (--until)."
        if summary.stopped:
            yield f"Go on with: {' '.join([command, *self.arguments(of_next_run=True)])}"


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the moment of a local time such as `18:00`, the next one, or of a date and time in ISO 8601.

    Raises `ConfigError` for another text. `now` has a time zone, by default the local one.
    """
    now = now or datetime.now().astimezone()
    try:
        if "T" in text or " " in text.strip():
            at = datetime.fromisoformat(text)
            return at if at.utcoffset() is not None else at.astimezone()
        time = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise ConfigError("--until takes a time such as 18:00 or 2026-11-28T18:00") from None
    today = datetime.combine(now.date(), time)
    at = today.astimezone()
    return at if at > now else (today + timedelta(days=1)).astimezone()
