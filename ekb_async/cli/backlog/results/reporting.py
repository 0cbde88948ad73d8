"""`ekb backlog report`: a page about a backlog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ekb_async.cli.backlog.options import Database, existing
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import counted, say
from ekb_async.cli.runner import ExitStatus

ReportFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")]


async def report(db: Database, output: ReportFile = Path("report.html")) -> ExitStatus:
    """Write an HTML report: totals by kind and month, unusable invoices, failures, and the speed."""
    check_files(output)
    async with existing(Location(db)) as backlog:
        say(f"{counted(await backlog.report(output, lang=texts.lang), 'row')} in {output}")
    return ExitStatus.OK
