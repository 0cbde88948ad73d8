"""`ekb backlog remove`: what it would remove, the question, and what it has removed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ekb_async.backlog import Backlog, RemoveReport
from ekb_async.cli.backlog.options import Database, Kind, State, existing
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import counted, say, utf8_argument
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError

Rows = Annotated[list[int] | None, typer.Argument(metavar="ROW...", help="Numbers of rows, as `list` shows them.")]
FromManifest = Annotated[
    Path | None, typer.Option("--manifest", metavar="PATH", help="Rows that were added from this manifest or folder.")
]
StateOption = Annotated[State | None, typer.Option("--state", help="Rows in this state.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Rows of this kind.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Rows of this tenant.")]
Paid = Annotated[
    bool, typer.Option("--paid", help="Also the last row of a call that was sent or answered, with its answer.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


async def remove(
    db: Database,
    rows: Rows = None,
    manifest: FromManifest = None,
    state: StateOption = None,
    kind: KindOption = None,
    tenant: TenantOption = None,
    paid: Paid = False,
    yes: Yes = False,
) -> ExitStatus:
    """Remove rows, after asking. Several options select the rows for which all of them are true.

    Rows that a run is working on are left. So is the last row of a call
    that was sent, because what was paid for it would be forgotten.
    """
    check_files(manifest)
    selected: dict[str, Any] = {
        "rows": rows or None,
        "manifest": manifest,
        "state": state,
        "kind": kind,
        "tenant": None if tenant is None else utf8_argument(tenant),
        "paid": paid,
    }
    async with existing(Location(db)) as backlog:
        if not yes and not await _is_confirmed(backlog, selected):
            say("Nothing was removed.")
            return ExitStatus.OK
        report = await backlog.remove(**selected)
    say(f"{counted(report.rows, 'row')} removed")
    for line in _left(report):
        say(line)
    return ExitStatus.OK


async def _is_confirmed(backlog: Backlog, selected: dict[str, Any]) -> bool:
    """Say what would be removed and ask. Raises `ConfigError` if there is no terminal."""
    report = await backlog.remove(**selected, dry_run=True)
    say(f"{counted(report.rows, 'row')} to remove, with {counted(report.calls, 'call')} that no other row shares")
    for line in _left(report):
        say(line)
    if not report.rows:
        return False
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError("standard input is no terminal, so it cannot be asked: give --yes to remove them")
    return await asyncio.to_thread(typer.confirm, "Remove them?", err=True)


def _left(report: RemoveReport) -> Iterator[str]:
    """Yield lines about the rows that are left, and why."""
    for count, why in (
        (report.running, "a run has claimed it and is at work, or was interrupted"),
        (report.paid, "its call was sent or answered; remove it with --paid"),
        (report.needed, "its file is needed for other files of the same invoice"),
    ):
        if count:
            yield f"  {counted(count, 'row')} left, each because {why}"
