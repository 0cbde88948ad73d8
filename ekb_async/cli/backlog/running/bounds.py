"""How far `ekb backlog run` goes: its options, and what it says when it has ended before all calls were made."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import typer

from ekb_async.backlog import Summary
from ekb_async.cli.language import texts
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
            yield texts(
                "{count:,} call was answered by the ledger and not paid for",
                "{count:,} calls were answered by the ledger and not paid for",
                count=summary.saved,
            )
        if summary.stopped == "max_calls":
            yield texts(
                "Stopped after {count:,} call that may be billed (--max-calls).",
                "Stopped after {count:,} calls that may be billed (--max-calls).",
                count=self.max_calls or 0,
            )
        elif summary.stopped and until is not None:
            yield texts("Stopped at {moment} (--until).", moment=f"{until:%Y-%m-%d %H:%M}")
        if summary.stopped:
            yield texts("Go on with: {command}", command=" ".join([command, *self.arguments(of_next_run=True)]))


def moment(text: str, now: datetime | None = None) -> datetime:
    """Return the moment of a local time such as `18:00`, the next one, or of a date and time in ISO 8601.

    Raises `ConfigError` for another text, and for a date and time that has passed. `now` has a time zone, by default
    the local one.
    """
    now = now or datetime.now().astimezone()
    try:
        if "T" in text or " " in text.strip():
            at = datetime.fromisoformat(text)
            at = at if at.utcoffset() is not None else at.astimezone()
        else:
            today = datetime.combine(now.date(), datetime.strptime(text, "%H:%M").time())
            at = today.astimezone()
            # A time without a date is the next one.
            at = at if at > now else (today + timedelta(days=1)).astimezone()
    except ValueError:
        raise ConfigError("--until takes a time such as 18:00 or 2026-11-28T18:00") from None
    if at <= now:
        raise ConfigError(f"--until {at:%Y-%m-%d %H:%M} has passed, so nothing would be done")
    return at
