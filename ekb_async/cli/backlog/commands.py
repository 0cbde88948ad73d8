"""`ekb backlog`: fill a backlog from manifests, make its calls, inspect it, export it."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import msgspec
import typer

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog, Summary
from ekb_async.cli.backlog.adding import add
from ekb_async.cli.backlog.bounds import LedgerFirst, MaxCalls, RunBounds, Until, moment
from ekb_async.cli.backlog.estimating import estimate
from ekb_async.cli.backlog.listing import list_rows
from ekb_async.cli.backlog.options import AsJson, Database, Kind, OcrRate, State, VerifyRate, existing
from ekb_async.cli.backlog.progress import RunProgress
from ekb_async.cli.backlog.removing import remove
from ekb_async.cli.backlog.status import BacklogStatus, causes_of, waiting_lines
from ekb_async.cli.command_line import Command, CommandGroup
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import counted, need_output, say, utf8_argument, write_line
from ekb_async.cli.progress import display
from ekb_async.cli.runner import ExitStatus, Interruption, finish
from ekb_async.cli.sessions import open_session, tenant_sessions
from ekb_async.errors import ConfigError, OutcomeUnknownError
from ekb_async.session.tenants import TenantSessions

P = ParamSpec("P")


app = typer.Typer(
    help="Process many invoices over many runs. A row is paid for once, unless the answer of a call was lost.",
    no_args_is_help=True,
    cls=CommandGroup,
)

_UNKNOWN = OutcomeUnknownError.__name__


def _command(work: Callable[P, Coroutine[Any, Any, ExitStatus]], *, name: str | None = None) -> Callable[P, NoReturn]:
    """Make a command of a coroutine function: the command runs it and exits with its status."""

    @app.command(name, cls=Command)
    @functools.wraps(work)
    def command(*args: P.args, **kwargs: P.kwargs) -> NoReturn:
        finish(work(*args, **kwargs))

    return command


Tenants = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The tenants' accounts, as TOML or JSON. See docs/scaling.md."),
]
Source = Annotated[str, typer.Argument(metavar="FROM", help="The backlog to copy: a file or a DSN.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="TO",
        help="The backlog to copy into: a file or a DSN. It is created if it does not exist.",
    ),
]
FilesDirectory = Annotated[
    Path | None, typer.Option("--files", metavar="DIR", help="Folder for the files of download rows.")
]
HoldUnknown = Annotated[
    bool,
    typer.Option("--hold-unknown", help="Let a row fail instead of repeating a billed call whose answer was lost."),
]
CauseOption = Annotated[
    str | None,
    typer.Option("--cause", metavar="TEXT", help="Retry only rows with this error class, or this text in the error."),
]
Unknown = Annotated[bool, typer.Option("--unknown", help="Retry only calls that may already have been billed.")]
WaitingOption = Annotated[
    bool, typer.Option("--waiting", help="Instead of failed rows, let rows that wait for another day be made at once.")
]
Output = Annotated[
    Path,
    typer.Argument(metavar="OUT", help="File to write; its suffix sets the format: .jsonl, .csv, .xlsx or .parquet."),
]
StateOption = Annotated[State | None, typer.Option("--state", help="Write only rows in this state.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Write only rows of this kind.")]
ReportFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="HTML file to write.")]


_command(add)


@app.command(cls=Command)
def run(
    db: Database,
    ocr_rate: OcrRate = 1.0,
    verify_rate: VerifyRate = 1.0,
    files: FilesDirectory = None,
    tenants: Tenants = None,
    hold_unknown: HoldUnknown = False,
    ledger_first: LedgerFirst = False,
    max_calls: MaxCalls = None,
    until: Until = None,
) -> None:
    """Make the pending calls. OCR and verification are billed."""
    place = Location(db)
    rates = {f"--{kind}-rate": f"{rate:g}" for kind, rate in (("ocr", ocr_rate), ("verify", verify_rate)) if rate != 1}
    options: dict[str, object] = {**rates, "--files": files, "--tenants": tenants}
    given = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
    command = " ".join([f"ekb backlog run {place}", *given, *(["--hold-unknown"] if hold_unknown else [])])
    settings = {"ocr_rate": ocr_rate, "verify_rate": verify_rate, "repeat_unknown": not hold_unknown}
    bounds = RunBounds(ledger_first, max_calls, until)
    interruption = Interruption(
        f"Nothing that was answered is lost. Go on with: {' '.join([command, *bounds.arguments()])}"
    )
    finish(_run(place, files, tenants, interruption, bounds, command, **settings), interruption)


@_command
async def status(db: Database, as_json: AsJson = False) -> ExitStatus:
    """Show the number of rows by state, why rows failed and what to do, and the active runs."""
    need_output()
    place = Location(db)
    async with existing(place) as backlog:
        found = await BacklogStatus.of(backlog)
    if as_json:
        write_line(msgspec.json.encode(found))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in found.lines(place)))
    return ExitStatus.OK


_command(list_rows, name="list")
_command(estimate)
_command(remove)


@_command
async def retry(
    db: Database, cause: CauseOption = None, unknown: Unknown = False, waiting: WaitingOption = False
) -> ExitStatus:
    """Make failed rows pending again. Calls that may already have been billed need --unknown."""
    async with existing(Location(db)) as backlog:
        cause = cause and utf8_argument(cause)
        rows = counted(await backlog.retry(cause=cause, unknown=unknown, waiting=waiting), "row is")
        say(f"{rows} due now" if waiting else f"{rows} pending again")
    return ExitStatus.OK


@_command
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


@_command
async def export(
    db: Database,
    output: Output,
    state: StateOption = None,
    kind: KindOption = None,
) -> ExitStatus:
    """Write rows with their results to a file."""
    check_files(output)
    async with existing(Location(db)) as backlog:
        say(f"{counted(await backlog.export(output, state, kind=kind, lang=texts.lang), 'row')} in {output}")
    return ExitStatus.OK


@_command
async def report(db: Database, output: ReportFile = Path("report.html")) -> ExitStatus:
    """Write an HTML report: totals by kind and month, unusable invoices, failures, and the speed."""
    check_files(output)
    async with existing(Location(db)) as backlog:
        say(f"{counted(await backlog.report(output, lang=texts.lang), 'row')} in {output}")
    return ExitStatus.OK


@_command
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


async def _run(
    place: Location,
    files: Path | None,
    tenants: Path | None,
    interruption: Interruption,
    bounds: RunBounds,
    command: str,
    **settings: Any,
) -> ExitStatus:
    check_files(files, tenants)
    until = None if bounds.until is None else moment(bounds.until)
    # Calls in progress are paid for, so closing waits as long as an attempt may take, and for its record.
    config = SessionConfig(**settings)
    config = msgspec.structs.replace(config, close_timeout=config.request_timeout + LIMITS.record_seconds)
    async with existing(place) as backlog:
        if tenants is None and any(each.tenant for each in await backlog.tenants()):
            raise ConfigError("rows have a tenant: give the tenants' accounts with --tenants FILE")
        async with await _sessions(place, tenants, config) as sessions:
            interruption.break_off = backlog.break_off
            try:
                with display("backlog", stays=True) as screen:
                    summary = await backlog.run(
                        sessions,
                        progress=RunProgress(screen),
                        files=files,
                        ledger_first=bounds.ledger_first,
                        max_calls=bounds.max_calls,
                        until=until,
                    )
            finally:
                interruption.broken_off = backlog.broken_off
            causes = await causes_of(backlog, summary.counts["failed"])
    _say_what_was_done(place, summary, causes, has_directory=files is not None)
    for line in bounds.lines(summary, until, command):
        say(line)
    return ExitStatus.SOME_FAILED if summary.counts["failed"] else ExitStatus.OK


def _say_what_was_done(place: Location, summary: Summary, causes: list[str], *, has_directory: bool) -> None:
    say(", ".join(f"{count:,} {state}" for state, count in summary.counts.items() if count or state == "done"))
    for line in (*waiting_lines(summary.waiting), *causes):
        say(line)
    for staff_id, rows in summary.refused_staff.items():
        say(f"{rows:,} rows wait: the vendor refused their staff_id {staff_id}. Add them again with the right one, or")
        say("run again when that person is active.")
    left = summary.counts["pending"] - sum(summary.refused_staff.values()) - summary.waiting.rows
    if left > 0 and not has_directory and not summary.stopped:
        say(f"Rows of kind download need a directory: ekb backlog run {place} --files DIR")
    if summary.failures.keys() - {_UNKNOWN}:
        say(f"Make failed rows pending again with: ekb backlog retry {place}")
    if _UNKNOWN in summary.failures:
        say(f"Retry calls that may already have been billed with: ekb backlog retry {place} --unknown")


async def _sessions(place: Location, tenants: Path | None, config: SessionConfig) -> EkbSession | TenantSessions:
    if tenants is None:
        return open_session(config, dsn=place.dsn)
    return await tenant_sessions(tenants, config, dsn=place.dsn)
