"""`ekb backlog report`: a page about a backlog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ekb_async.cli.backlog.options import Database, existing
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.runner import ExitStatus

ReportFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")]
Title = Annotated[str | None, typer.Option(metavar="TEXT", help="The heading of the page. By default a general one.")]


async def report(db: Database, output: ReportFile = Path("report.html"), title: Title = None) -> ExitStatus:
    """Write an HTML page for people: money, what needs attention and why, totals by kind, month, person and seller."""
    check_files(output)
    title = None if title is None else utf8_argument(title)
    async with existing(Location(db)) as backlog:
        count = await backlog.report(output, lang=texts.lang, title=title)
    say(texts("{count:,} row in {file}", "{count:,} rows in {file}", count=count, file=output))
    return ExitStatus.OK
