"""`ekb backlog export`: rows with their results, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ekb_async.backlog.results.export import lines_path
from ekb_async.cli.backlog.moments import past_moment
from ekb_async.cli.backlog.options import Database, Kind, Ref, Since, State, Tenant, existing
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.runner import ExitStatus

Output = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="File to write; its suffix sets the format: .jsonl, .csv, .xlsx or .parquet."),
]
StateOption = Annotated[State | None, typer.Option("--state", help="Write only rows in this state.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Write only rows of this kind.")]
LinesOption = Annotated[
    bool, typer.Option("--lines", help="Write the invoice lines to a second file (.csv, .parquet), as OUT.lines.csv.")
]


async def export(
    db: Database,
    output: Output,
    state: StateOption = None,
    kind: KindOption = None,
    lines: LinesOption = False,
    tenant: Tenant = None,
    ref: Ref = None,
    since: Since = None,
) -> ExitStatus:
    """Write rows with their results to a file."""
    check_files(output)
    selected: dict[str, Any] = {
        "tenant": None if tenant is None else utf8_argument(tenant),
        "ref": None if ref is None else utf8_argument(ref),
        "since": None if since is None else past_moment("--since", since),
    }
    async with existing(Location(db)) as backlog:
        count = await backlog.export(output, state, kind=kind, lang=texts.lang, lines=lines, **selected)
        say(texts("{count} row in {file}", "{count:,} rows in {file}", count=count, file=output))
        if lines:
            say(texts("invoice lines in {file}", file=lines_path(output)))
    return ExitStatus.OK
