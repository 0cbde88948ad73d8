"""`ekb backlog purge`: which calls it would delete, the question, how far it is, and what it has deleted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

import typer

from ekb_async.backlog import Backlog, PurgeReport
from ekb_async.cli.backlog.options import Database, Yes, existing
from ekb_async.cli.backlog.rows.confirming import is_confirmed
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.progress import Display, display
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError
from ekb_async.models.wire.coerce import CHINA

_AGE = re.compile(r"(\d{1,6})([dhm])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}

DoneBefore = Annotated[
    str,
    typer.Option(
        "--done-before",
        metavar="AGE|DATE",
        help="Calls that were done so long ago (30d, 12h), or before this date or time at UTC+8 (2026-01-31).",
    ),
]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Only calls of this tenant.")]
Failed = Annotated[bool, typer.Option("--failed", help="Also calls that failed so long ago.")]
KeepSummary = Annotated[
    bool, typer.Option("--keep-summary/--no-summary", help="Whether status and reports still sum up what was deleted.")
]
KeepIdentities = Annotated[
    bool,
    typer.Option(
        "--keep-identities/--no-identities",
        help="Whether a few bytes for each deleted row stay, so that it is not paid again when it is added again.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")]
Compact = Annotated[
    bool, typer.Option("--compact", help="Give the space in a file back to the disk; no run may be active.")
]


async def purge(
    db: Database,
    done_before: DoneBefore,
    tenant: TenantOption = None,
    failed: Failed = False,
    keep_summary: KeepSummary = True,
    keep_identities: KeepIdentities = True,
    dry_run: DryRun = False,
    compact: Compact = False,
    yes: Yes = False,
) -> ExitStatus:
    """Delete calls that were done long ago, with their rows and results, after asking. Export them first.

    Runs and workers may be active. It can be interrupted and repeated. Log
    entries of job engines that are older go too, unless --tenant is given.
    """
    place = Location(db)
    if compact and place.dsn is not None:
        raise ConfigError("--compact is for a file; a database uses the space of deleted rows again")
    selected = partial(
        Backlog.purge,
        before=_moment(done_before),
        tenant=None if tenant is None else utf8_argument(tenant),
        failed=failed,
        keep_summary=keep_summary,
        keep_identities=keep_identities,
    )
    async with existing(place) as backlog:
        if dry_run or not yes:
            for line in _to_purge(
                await selected(backlog, dry_run=True), summary=keep_summary, identities=keep_identities
            ):
                say(line)
        if dry_run:
            return ExitStatus.OK
        if not yes and not await is_confirmed(texts("Delete them?")):
            say(texts("Nothing was deleted."))
            return ExitStatus.OK
        with display(texts.word("progress", "deleted")) as screen:
            report = await selected(backlog, progress=partial(_show, screen))
        for line in _purged(report):
            say(line)
        if compact:
            size = await backlog.compact()
            say(texts("The file is {size:,.1f} MB smaller.", size=size / 1e6))
    return ExitStatus.OK


def _moment(text: str) -> datetime:
    """Return the moment that an age or a date means. Raises `ConfigError` if it is neither."""
    if (found := _AGE.fullmatch(text)) is not None:
        return datetime.now(CHINA) - int(found[1]) * _UNITS[found[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--done-before must be an age such as 30d, or a date, not {utf8_argument(text)!r}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=CHINA)


def _show(screen: Display, report: PurgeReport) -> None:
    screen.update(done=report.rows, failed=0, total=None)


def _to_purge(report: PurgeReport, *, summary: bool, identities: bool) -> Iterator[str]:
    """Yield what would be deleted, and what that means."""
    yield texts(
        "{count:,} row to delete, with its result", "{count:,} rows to delete, with their results", count=report.rows
    )
    if not summary:
        yield texts("  no sums of them stay: status and reports will not show what they cost")
    if not identities:
        yield texts("  what was deleted is paid again if it is added again, also what earlier purges deleted")


def _purged(report: PurgeReport) -> Iterator[str]:
    """Yield what was deleted."""
    yield texts(
        "{count:,} row deleted, with its result", "{count:,} rows deleted, with their results", count=report.rows
    )
    if report.forgotten:
        yield texts(
            "  {count:,} row of an earlier purge is not recognised any more",
            "  {count:,} rows of earlier purges are not recognised any more",
            count=report.forgotten,
        )
    if report.log_entries:
        yield texts(
            "  {count:,} log entry of job engines deleted",
            "  {count:,} log entries of job engines deleted",
            count=report.log_entries,
        )
