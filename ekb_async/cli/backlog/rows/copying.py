"""`ekb backlog copy`: a backlog with its results into another one."""

from __future__ import annotations

from typing import Annotated

import typer

from ekb_async.backlog import Backlog
from ekb_async.cli.backlog.options import existing
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location
from ekb_async.cli.output import say
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
    say(texts("{place}: {count:,} row added", "{place}: {count:,} rows added", count=copied.rows, place=place))
    say("  " + texts("{count:,} call is new there", "{count:,} calls are new there", count=copied.calls))
    if copied.joined:
        say("  " + texts("{count:,} call was there already", "{count:,} calls were there already", count=copied.joined))
    return ExitStatus.OK
