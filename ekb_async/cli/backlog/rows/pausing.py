"""`ekb backlog pause`, `resume` and `cancel`: calls that a person holds back, also beside runs at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ekb_async.backlog import Backlog, CancelReport
from ekb_async.cli.backlog.options import Database, Kind, Yes, existing
from ekb_async.cli.backlog.rows.confirming import is_confirmed
from ekb_async.cli.backlog.rows.left import claimed_lines
from ekb_async.cli.backlog.showing.states import pause_lines
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError

TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Calls of this tenant.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Calls of this kind.")]
RefOption = Annotated[
    str | None, typer.Option("--ref", metavar="REF", help="Calls whose rows all have this reference.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is shown with the calls.")]
Everything = Annotated[bool, typer.Option("--all", help="All calls.")]


async def pause(
    db: Database,
    tenant: TenantOption = None,
    kind: KindOption = None,
    ref: RefOption = None,
    everything: Everything = False,
    reason: ReasonOption = "",
) -> ExitStatus:
    """Hold pending calls until `resume`, at once, also while runs and workers are at work. Several options select the
    calls for which all of them are true.

    Calls that were sent end. Calls of the tenant or kind that are added
    later are held too; with --ref, only those that are there.
    """
    selected = _selected(tenant, kind, ref, everything=everything)
    async with existing(Location(db)) as backlog:
        report = await backlog.pause(**selected, reason=utf8_argument(reason))
    say(texts("{count:,} row is held", "{count:,} rows are held", count=report.rows))
    if report.running:
        say(
            texts(
                "  {count:,} row more is claimed by a run; its call ends, or is held if it was not sent",
                "  {count:,} rows more are claimed by runs; their calls end, or are held if they were not sent",
                count=report.running,
            )
        )
    for line in _shared(report.shared):
        say(line)
    return ExitStatus.OK


async def resume(
    db: Database,
    tenant: TenantOption = None,
    kind: KindOption = None,
    ref: RefOption = None,
    everything: Everything = False,
) -> ExitStatus:
    """End the pauses of what is selected. Runs and workers that are at work go on with it within seconds."""
    selected = _selected(tenant, kind, ref, everything=everything)
    async with existing(Location(db)) as backlog:
        report = await backlog.resume(**selected)
    say(texts("{count:,} row can be made again", "{count:,} rows can be made again", count=report.rows))
    if report.held:
        say(
            texts(
                "  {count:,} row is still held by another pause",
                "  {count:,} rows are still held by other pauses",
                count=report.held,
            )
        )
        for line in pause_lines(report.by):
            say(f"  {line}")
    return ExitStatus.OK


async def cancel(
    db: Database,
    tenant: TenantOption = None,
    kind: KindOption = None,
    ref: RefOption = None,
    reason: ReasonOption = "",
    yes: Yes = False,
) -> ExitStatus:
    """Let pending rows fail, after asking, also those that are held or wait. They cost nothing.

    Calls that a run has claimed are left; `pause` first lets it give back
    what it has not sent. `retry` makes cancelled rows again only with
    --cancelled. This is also the way to end the rows of a tenant that has
    no account any more.
    """
    selected = _selected(tenant, kind, ref)
    async with existing(Location(db)) as backlog:
        if not yes and not await _is_confirmed(backlog, selected):
            say(texts("Nothing was cancelled."))
            return ExitStatus.OK
        report = await backlog.cancel(**selected, reason=utf8_argument(reason))
    say(texts("{count:,} row cancelled", "{count:,} rows cancelled", count=report.rows))
    for line in _left(report):
        say(line)
    return ExitStatus.OK


def _selected(
    tenant: str | None, kind: Kind | None, ref: str | None, *, everything: bool | None = None
) -> dict[str, Any]:
    """Return the arguments that select calls. Raises `ConfigError` naming the options if there are none, or --all."""
    if tenant is kind is ref is None and not everything:
        if everything is None:
            raise ConfigError("say which calls, with --tenant, --kind or --ref")
        raise ConfigError("say which calls, with --tenant, --kind or --ref, or --all for all of them")
    selected = {
        "tenant": None if tenant is None else utf8_argument(tenant),
        "kind": kind,
        "ref": None if ref is None else utf8_argument(ref),
    }
    return selected if everything is None else {**selected, "everything": everything}


async def _is_confirmed(backlog: Backlog, selected: dict[str, Any]) -> bool:
    """Say what would be cancelled, and ask. Raises `ConfigError` if there is no terminal."""
    report = await backlog.to_cancel(**selected)
    say(texts("{count:,} row to cancel", "{count:,} rows to cancel", count=report.rows))
    for line in _left(report):
        say(line)
    return report.rows > 0 and await is_confirmed(texts("Cancel them?"))


def _left(report: CancelReport) -> Iterator[str]:
    """Yield lines about the rows that are left, and why."""
    yield from claimed_lines(report.running)
    yield from _shared(report.shared)


def _shared(rows: int) -> Iterator[str]:
    if rows:
        shared = texts(
            "{count:,} row left: rows with another reference share its call",
            "{count:,} rows left: rows with other references share their calls",
            count=rows,
        )
        yield f"  {shared}"
