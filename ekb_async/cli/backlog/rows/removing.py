"""`ekb backlog remove`: what it would remove, the question, and what it has removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ekb_async.backlog import Backlog, RemoveReport
from ekb_async.cli.backlog.options import Database, Kind, State, Yes, existing
from ekb_async.cli.backlog.rows.confirming import is_confirmed
from ekb_async.cli.backlog.rows.left import claimed_lines
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.runner import ExitStatus

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
            say(texts("Nothing was removed."))
            return ExitStatus.OK
        report = await backlog.remove(**selected)
    say(texts("{count:,} row removed", "{count:,} rows removed", count=report.rows))
    for line in _left(report):
        say(line)
    return ExitStatus.OK


async def _is_confirmed(backlog: Backlog, selected: dict[str, Any]) -> bool:
    """Say what would be removed, and ask. Raises `ConfigError` if there is no terminal."""
    report = await backlog.remove(**selected, dry_run=True)
    say(texts("{count:,} row to remove", "{count:,} rows to remove", count=report.rows))
    if report.rows:
        call = texts(
            "{count:,} call that no other row shares is removed with them",
            "{count:,} calls that no other row shares are removed with them",
            count=report.calls,
        )
        say(f"  {call}")
    for line in _left(report):
        say(line)
    return report.rows > 0 and await is_confirmed(texts("Remove them?"))


def _left(report: RemoveReport) -> Iterator[str]:
    """Yield lines about the rows that are left, and why."""
    yield from claimed_lines(report.running)
    if report.paid:
        paid = texts(
            "{count:,} row left: its call was sent or answered; remove it with --paid",
            "{count:,} rows left: their calls were sent or answered; remove them with --paid",
            count=report.paid,
        )
        yield f"  {paid}"
    if report.needed:
        needed = texts(
            "{count:,} row left: its file is needed for other files of the same invoice",
            "{count:,} rows left: their files are needed for other files of the same invoices",
            count=report.needed,
        )
        yield f"  {needed}"
