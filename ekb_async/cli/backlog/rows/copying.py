"""`ekb backlog copy`: a backlog with its results into another one."""

from __future__ import annotations

from typing import Annotated

import typer

from ekb_async.backlog import Backlog
from ekb_async.cli.backlog.options import existing
from ekb_async.cli.location import Location
from ekb_async.cli.output import counted, say
from ekb_async.cli.runner import ExitStatus

Source = Annotated[str, typer.Argument(metavar="FROM", help="The backlog to copy: a file or a DSN.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        help="The backlog to copy into: a file or a DSN. It is created if it does not exist.",
    ),
]


async def copy(source: Source, target: Target) -> ExitStatus:
    """Copy a backlog with its results into another one.

    All of it is copied, or nothing. No run may be active on the source.
    """
    place = Location(target)
    async with existing(Location(source)) as old, Backlog.open(place.where) as new:
        copied = await old.copy_to(new)
    say(f"{place}: {counted(copied.rows, 'row')} of {counted(copied.manifests, 'manifest')} added")
    say(f"  {counted(copied.calls, 'call is')} new there, {copied.joined:,} there already")
    return ExitStatus.OK
