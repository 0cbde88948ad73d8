"""`ekb backlog retry` and `ekb backlog free`: rows that are to be made again."""

from __future__ import annotations

from typing import Annotated

import typer

from ekb_async.cli.backlog.options import Database, existing
from ekb_async.cli.location import Location
from ekb_async.cli.output import counted, say, utf8_argument
from ekb_async.cli.runner import ExitStatus

CauseOption = Annotated[
    str | None,
    typer.Option("--cause", metavar="TEXT", help="Retry only rows with this error class, or this text in the error."),
]
Unknown = Annotated[bool, typer.Option("--unknown", help="Retry only calls that may already have been billed.")]
WaitingOption = Annotated[
    bool, typer.Option("--waiting", help="Instead of failed rows, let rows that wait for another day be made at once.")
]


async def retry(
    db: Database, cause: CauseOption = None, unknown: Unknown = False, waiting: WaitingOption = False
) -> ExitStatus:
    """Make failed rows pending again. Calls that may already have been billed need --unknown."""
    async with existing(Location(db)) as backlog:
        cause = cause and utf8_argument(cause)
        rows = counted(await backlog.retry(cause=cause, unknown=unknown, waiting=waiting), "row is")
        say(f"{rows} due now" if waiting else f"{rows} pending again")
    return ExitStatus.OK


async def free(db: Database) -> ExitStatus:
    """Make running rows pending again. Use it only if you know that no run is active.

    Normally the next run takes over the rows of dead runs. In a backlog that
    was moved or copied without its hidden files, a dead run may seem alive.
    Calls that were in progress may have been billed.
    """
    async with existing(Location(db)) as backlog:
        say(f"{await backlog.free():,} rows are pending again")
        for run in await backlog.active_runs():
            say(f"  process {run.pid} on {run.host} is working on {run.running:,} calls: end it first")
    return ExitStatus.OK
