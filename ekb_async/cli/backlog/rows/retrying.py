"""`ekb backlog retry` and `ekb backlog free`: rows that are to be made again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ekb_async.backlog import Backlog, RetryReport
from ekb_async.backlog.input.numbers import row_numbers
from ekb_async.cli.backlog.options import Database, Kind, Yes, existing
from ekb_async.cli.backlog.rows.confirming import is_confirmed
from ekb_async.cli.language import texts
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import say, utf8_argument
from ekb_async.cli.runner import ExitStatus
from ekb_async.errors import ConfigError

Rows = Annotated[
    list[int] | None, typer.Argument(metavar="ROW...", help="Numbers of failed rows, as `list` shows them.")
]
FromList = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="Retry only the rows that an exported file still lists, such as a workbook from which a person has "
        "deleted lines: .xlsx, .csv or .jsonl with the task numbers.",
    ),
]
FileOption = Annotated[
    str | None,
    typer.Option("--file", metavar="TEXT", help="Retry only rows with this text in their file or invoice ID."),
]
CauseOption = Annotated[
    str | None,
    typer.Option("--cause", metavar="TEXT", help="Retry only rows with this error class, or this text in the error."),
]
Unknown = Annotated[bool, typer.Option("--unknown", help="Retry only calls that may already have been billed.")]
Cancelled = Annotated[bool, typer.Option("--cancelled", help="Retry only rows that were cancelled.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="Retry only rows of this tenant.")]
RefOption = Annotated[str | None, typer.Option("--ref", metavar="REF", help="Retry only rows with this reference.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Retry only rows of this kind.")]
WaitingOption = Annotated[
    bool, typer.Option("--waiting", help="Instead of failed rows, let rows that wait for another day be made at once.")
]


async def retry(
    db: Database,
    rows: Rows = None,
    from_list: FromList = None,
    file: FileOption = None,
    cause: CauseOption = None,
    tenant: TenantOption = None,
    ref: RefOption = None,
    kind: KindOption = None,
    unknown: Unknown = False,
    cancelled: Cancelled = False,
    waiting: WaitingOption = False,
    yes: Yes = False,
) -> ExitStatus:
    """Make failed rows pending again, after saying what is billed again. Several options select the rows for which all
    of them are true.

    Calls that may already have been billed need --unknown, cancelled ones
    --cancelled. On a terminal, the command asks before billed calls are
    made again. Without one, all options but --cause, --unknown and
    --waiting need --yes for that.
    """
    check_files(from_list)
    given = [rows or None, from_list, file, tenant, ref, kind, cancelled or None]
    is_new = any(each is not None for each in given)
    if waiting and is_new:
        raise ConfigError("rows that wait have not failed: with --waiting, only --cause can select them")
    numbers = await _numbers(rows, from_list)
    selected: dict[str, Any] = {
        "cause": cause and utf8_argument(cause),
        "rows": numbers,
        "file": None if file is None else utf8_argument(file),
        "tenant": None if tenant is None else utf8_argument(tenant),
        "ref": None if ref is None else utf8_argument(ref),
        "kind": kind,
        "unknown": unknown,
        "cancelled": cancelled,
    }
    async with existing(Location(db)) as backlog:
        if waiting:
            due = await backlog.retry(cause=selected["cause"], unknown=unknown, waiting=True)
            say(texts("{count:,} row is due now", "{count:,} rows are due now", count=due))
            return ExitStatus.OK
        rows_found = await _agreed(backlog, selected, asks=not yes, needs_answer=is_new)
        if rows_found is None:
            say(texts("Nothing was changed."))
            return ExitStatus.OK
        again = await backlog.retry(**selected) if rows_found else 0
    say(texts("{count:,} row is pending again", "{count:,} rows are pending again", count=again))
    return ExitStatus.OK


async def _agreed(backlog: Backlog, selected: dict[str, Any], *, asks: bool, needs_answer: bool) -> int | None:
    """Say what would be made again and ask about billed calls; return the number of rows, None if that is not wanted.

    While a person thinks, further rows may fail: then it is said and asked again. Raises `ConfigError`.
    """
    answered = None
    while (report := await backlog.to_retry(**selected)) != answered:
        for line in _report_lines(report):
            say(line)
        if not asks or not report.billed:
            break
        if not await _is_confirmed(needs_answer=needs_answer):
            return None
        answered = report
    return report.rows


async def _numbers(rows: list[int] | None, from_list: Path | None) -> list[int] | None:
    """Return the numbers of rows that are given in both ways, None if in neither."""
    listed = None if from_list is None else await asyncio.to_thread(row_numbers, from_list)
    if not rows:
        return listed
    if listed is None:
        return rows
    known = set(listed)
    return [each for each in rows if each in known]


async def _is_confirmed(*, needs_answer: bool) -> bool:
    """Ask whether billed calls are to be made again; without a terminal, only what `needs_answer` is refused.

    Scripts have always retried all failed rows, or those of a cause, without an answer. Raises `ConfigError`.
    """
    if not needs_answer and (sys.stdin is None or not sys.stdin.isatty()):
        return True
    return await is_confirmed(texts("Retry them?"))


def _report_lines(report: RetryReport) -> Iterator[str]:
    """Yield what would be made again, what of it is billed, and which rows are left."""
    yield texts("{count:,} row to retry", "{count:,} rows to retry", count=report.rows)
    if report.calls:
        yield texts(
            "  {count:,} call is made again, {billed:,} of these billed",
            "  {count:,} calls are made again, {billed:,} of these billed",
            count=report.calls,
            billed=report.billed,
        )
    if report.sent_before:
        yield texts(
            "  {count:,} of them was sent before and is billed again",
            "  {count:,} of them were sent before and are billed again",
            count=report.sent_before,
        )
    if report.maybe_billed:
        yield texts(
            "  {count:,} of them may have been billed already, without a result",
            "  {count:,} of them may have been billed already, without a result",
            count=report.maybe_billed,
        )
    yield from _left_lines(report)


def _left_lines(report: RetryReport) -> Iterator[str]:
    """Yield which rows are left, and why."""
    if report.unknown:
        yield texts(
            "  {count:,} row left, because its call may already have been billed; retry it with --unknown",
            "  {count:,} rows left, because their calls may already have been billed; retry them with --unknown",
            count=report.unknown,
        )
    if report.cancelled:
        yield texts(
            "  {count:,} row left, because it was cancelled; retry it with --cancelled",
            "  {count:,} rows left, because they were cancelled; retry them with --cancelled",
            count=report.cancelled,
        )
    if report.not_failed:
        yield texts(
            "  {count:,} row left, because it has not failed",
            "  {count:,} rows left, because they have not failed",
            count=report.not_failed,
        )
    if report.missing:
        yield texts(
            "  {count:,} number is no row of this backlog",
            "  {count:,} numbers are no rows of this backlog",
            count=report.missing,
        )


async def free(db: Database) -> ExitStatus:
    """Make running rows pending again. Use it only if you know that no run is active.

    Normally the next run takes over the rows of dead runs. In a backlog that
    was moved or copied without its hidden files, a dead run may seem alive.
    Calls that were in progress may have been billed.
    """
    async with existing(Location(db)) as backlog:
        freed = await backlog.free()
        say(texts("{count:,} row is pending again", "{count:,} rows are pending again", count=freed))
        for run in await backlog.active_runs():
            say(
                texts(
                    "  process {pid} on {host} is working on {count:,} call: end it first",
                    "  process {pid} on {host} is working on {count:,} calls: end it first",
                    pid=run.pid,
                    host=run.host,
                    count=run.running,
                )
            )
    return ExitStatus.OK
