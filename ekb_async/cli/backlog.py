"""`ekb backlog`: fill a backlog from manifests, work through it, look at it, export it."""

from __future__ import annotations

import asyncio
import enum
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from typer.core import TyperGroup

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import AddReport, Backlog
from ekb_async.cli.backlog_status import BacklogStatus, causes_of
from ekb_async.cli.counting import counted
from ekb_async.cli.encoding import utf8_argument, write_line
from ekb_async.cli.location import Location, check_files, without_urls
from ekb_async.cli.progress import display
from ekb_async.cli.run_progress import RunProgress
from ekb_async.cli.runner import ExitStatus, Interruption, finish, need_output, say
from ekb_async.cli.sessions import open_session, tenant_sessions
from ekb_async.errors import ConfigError, OutcomeUnknownError
from ekb_async.session.tenants import TenantSessions


class _HiddenRepr(TyperGroup):
    """Quotes no DSN that stands in the wrong place."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(said := getattr(error, "message", None), str):
                error.message = without_urls(said)  # type: ignore[attr-defined]  # each wrong usage has one
            raise


app = typer.Typer(
    help="Work through many invoices, over many runs; nothing is paid twice.", no_args_is_help=True, cls=_HiddenRepr
)

_UNKNOWN = OutcomeUnknownError.__name__
_SHOWN_CODES = 10
_TO_RECORD = 5.0


class Kind(enum.StrEnum):
    """What a row asks for."""

    OCR = "ocr"
    VERIFY = "verify"
    URL = "url"
    DETAIL = "detail"
    DOWNLOAD = "download"


class State(enum.StrEnum):
    """How a row stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Language(enum.StrEnum):
    """Of headings and words in files for people."""

    EN = "en"
    ZH = "zh"


Database = Annotated[
    str,
    typer.Argument(
        metavar="DB",
        help="The backlog's file, or a PostgreSQL: postgresql://user@host/database, the password from PGPASSWORD.",
    ),
]
Manifests = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="MANIFEST...", help="CSV or JSON Lines: kind, file, invoice_id, staff_id, file_name, ref, tenant."
    ),
]
RootFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Files of manifests may also lie under this folder, not only under the manifest's own; repeatable.",
    ),
]
Tenants = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The accounts of tenants, TOML or JSON; see docs/scaling.md."),
]
Source = Annotated[str, typer.Argument(metavar="FROM", help="The backlog that is copied, a file or a DSN.")]
Target = Annotated[str, typer.Argument(metavar="TO", help="The one that takes it up, new or not, a file or a DSN.")]
Flows = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Add the invoices of the documents whose codes are in this file, one a line."),
]
FlowKinds = Annotated[
    list[Kind] | None, typer.Option("--kind", help="With --flows: url, detail (the default) or download; repeatable.")
]
OcrRate = Annotated[float, typer.Option(help="Starts of OCR calls per second.")]
VerifyRate = Annotated[float, typer.Option(help="Starts of verification calls per second.")]
FilesDirectory = Annotated[
    Path | None, typer.Option("--files", metavar="DIR", help="Where files of rows of kind download go.")
]
HoldUnknown = Annotated[
    bool,
    typer.Option("--hold-unknown", help="Do not repeat a billed call whose answer was lost: its row fails instead."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
CauseOption = Annotated[
    str | None, typer.Option("--cause", metavar="TEXT", help="Only those with this class of error, or text in it.")
]
Unknown = Annotated[
    bool, typer.Option("--unknown", help="Those that may have been paid for and were held; only these.")
]
Output = Annotated[
    Path, typer.Argument(metavar="OUT", help="Written as its suffix says: .jsonl, .csv, .xlsx or .parquet.")
]
StateOption = Annotated[State | None, typer.Option("--state", help="Only rows in this state.")]
KindOption = Annotated[Kind | None, typer.Option("--kind", help="Only rows of this kind.")]
LanguageOption = Annotated[Language, typer.Option("--lang", help="English or Chinese headings.")]
ReportFile = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")]


@app.command()
def add(
    db: Database,
    manifests: Manifests = None,
    roots: RootFolders = None,
    flows: Flows = None,
    kinds: FlowKinds = None,
) -> None:
    """Add the rows of manifests, or the invoices of documents; the backlog is made if there is none.

    Rows that are there already are not added again.
    """
    finish(_add(Location(db), manifests or [], roots or [], flows, kinds or []))


@app.command()
def run(
    db: Database,
    ocr_rate: OcrRate = 1.0,
    verify_rate: VerifyRate = 1.0,
    files: FilesDirectory = None,
    tenants: Tenants = None,
    hold_unknown: HoldUnknown = False,
) -> None:
    """Make the calls that are pending. Recognition and verification are billed."""
    place = Location(db)
    again = f"ekb backlog run {place}" + (f" --tenants {tenants}" if tenants is not None else "")
    interruption = Interruption(f"Nothing that was answered is lost. Go on with: {again}")
    settings = {"ocr_rate": ocr_rate, "verify_rate": verify_rate, "repeat_unknown": not hold_unknown}
    finish(_run(place, files, tenants, interruption, **settings), interruption)


@app.command()
def status(db: Database, as_json: AsJson = False) -> None:
    """Say how many rows are in which state, why rows failed and what to do, and who is at work."""
    finish(_status(Location(db), as_json=as_json))


@app.command()
def retry(db: Database, cause: CauseOption = None, unknown: Unknown = False) -> None:
    """Make failed rows pending again; those whose outcome is unknown only with --unknown."""
    finish(_retry(Location(db), cause, unknown=unknown))


@app.command()
def free(db: Database) -> None:
    """Make rows pending that are running although no run is at work on them; only you know that none is.

    A run takes over by itself what dead runs have left. It takes a run for alive whose process seems to be there, of a
    backlog that was moved or copied without the hidden files beside it. Calls that were under way may be billed.
    """
    finish(_free(Location(db)))


@app.command()
def export(
    db: Database,
    output: Output,
    state: StateOption = None,
    kind: KindOption = None,
    lang: LanguageOption = Language.EN,
) -> None:
    """Write rows with their results."""
    finish(_export(Location(db), output, state, kind, lang))


@app.command()
def report(db: Database, output: ReportFile = Path("report.html"), lang: LanguageOption = Language.EN) -> None:
    """Write a page for people: totals by kind and month, what cannot be used, what failed, how fast it went."""
    finish(_report(Location(db), output, lang))


@app.command()
def copy(source: Source, target: Target) -> None:
    """Copy a backlog that nobody works on into another, with its results, all of it or nothing."""
    finish(_copy(Location(source), Location(target)))


async def _add(
    place: Location, manifests: list[Path], roots: list[Path], flows: Path | None, kinds: list[Kind]
) -> ExitStatus:
    if not manifests and flows is None:
        raise ConfigError("give a manifest, or --flows with a file of documents' codes")
    if kinds and flows is None:
        raise ConfigError("--kind says what the invoices of --flows become; a manifest has a column for it")
    files = [*manifests, *([flows] if flows else [])]
    check_files(*files, *roots)
    for file in files:
        if not await asyncio.to_thread(file.exists):
            raise ConfigError(f"{file}: there is no such file")
    async with Backlog.open(place.where) as backlog:
        for manifest in manifests:
            found = await backlog.add_manifest(manifest, roots=roots)
            say(f"{manifest}: {_brought(found)}")
        if flows is not None:
            async with open_session(dsn=place.dsn) as ekb:
                await _add_flows(backlog, ekb, flows, kinds or [Kind.DETAIL])
    return ExitStatus.OK


async def _add_flows(backlog: Backlog, ekb: EkbSession, flows: Path, kinds: list[Kind]) -> None:
    found = await backlog.add_flows(ekb, flows, kinds=[kind.value for kind in kinds])
    say(f"{flows}: {_brought(found)}")
    if found.missing:
        shown = [*found.missing[:_SHOWN_CODES], *(["…"] if len(found.missing) > _SHOWN_CODES else [])]
        say(f"  {counted(len(found.missing), 'code is')} unknown or without invoices: {', '.join(shown)}")


def _brought(found: AddReport) -> str:
    there = f", {found.present:,} there already" if found.present else ""
    return f"{found.added:,} added, {found.duplicates - found.present:,} the same as another row{there}"


async def _run(
    place: Location, files: Path | None, tenants: Path | None, interruption: Interruption, **settings: Any
) -> ExitStatus:
    check_files(files, tenants)
    # What is under way has been paid for: it is waited for as long as an attempt may take, and its record besides.
    config = SessionConfig(**settings)
    config = msgspec.structs.replace(config, close_timeout=config.request_timeout + _TO_RECORD)
    async with _existing(place) as backlog:
        if tenants is None and any(each.tenant for each in await backlog.tenants()):
            raise ConfigError("rows have a tenant: give the tenants' accounts with --tenants FILE")
        async with await _sessions(place, tenants, config) as sessions:
            interruption.break_off = backlog.break_off
            try:
                with display("backlog", stays=True) as shown:
                    summary = await backlog.run(sessions, progress=RunProgress(shown), files=files)
            finally:
                interruption.broken_off = backlog.broken_off
            causes = await causes_of(backlog, summary.counts["failed"])
    say(", ".join(f"{count:,} {state}" for state, count in summary.counts.items() if count or state == "done"))
    for line in causes:
        say(line)
    for staff_id, rows in summary.refused_staff.items():
        say(f"{rows:,} rows wait: the vendor refused their staff_id {staff_id}. Add them again with the right one, or")
        say("run again when that person is active.")
    if summary.counts["pending"] > sum(summary.refused_staff.values()) and files is None:
        say(f"Rows of kind download need a directory: ekb backlog run {place} --files DIR")
    if summary.failures.keys() - {_UNKNOWN}:
        say(f"Make failed rows pending again with: ekb backlog retry {place}")
    if _UNKNOWN in summary.failures:
        say(f"Make calls again that may have been paid for with: ekb backlog retry {place} --unknown")
    if summary.counts["failed"]:
        return ExitStatus.SOME_FAILED
    return ExitStatus.OK


async def _sessions(place: Location, tenants: Path | None, config: SessionConfig) -> EkbSession | TenantSessions:
    if tenants is None:
        return open_session(config, dsn=place.dsn)
    return await tenant_sessions(tenants, config, dsn=place.dsn)


async def _status(place: Location, *, as_json: bool) -> ExitStatus:
    need_output()
    async with _existing(place) as backlog:
        found = await BacklogStatus.of(backlog)
    if as_json:
        write_line(msgspec.json.encode(found))
    else:
        sys.stdout.write("".join(f"{line}\n" for line in found.lines(place)))
    return ExitStatus.OK


async def _retry(place: Location, cause: str | None, *, unknown: bool) -> ExitStatus:
    async with _existing(place) as backlog:
        cause = cause and utf8_argument(cause)
        say(f"{counted(await backlog.retry(cause=cause, unknown=unknown), 'row is')} pending again")
    return ExitStatus.OK


async def _free(place: Location) -> ExitStatus:
    async with _existing(place) as backlog:
        say(f"{await backlog.free():,} rows are pending again")
        for run in await backlog.active_runs():
            say(f"  process {run.pid} on {run.host} is at work on {run.running:,} calls: end it first")
    return ExitStatus.OK


async def _export(place: Location, output: Path, state: State | None, kind: Kind | None, lang: Language) -> ExitStatus:
    check_files(output)
    async with _existing(place) as backlog:
        say(f"{counted(await backlog.export(output, state, kind=kind, lang=lang), 'row')} in {output}")
    return ExitStatus.OK


async def _report(place: Location, output: Path, lang: Language) -> ExitStatus:
    check_files(output)
    async with _existing(place) as backlog:
        say(f"{counted(await backlog.report(output, lang=lang), 'row')} in {output}")
    return ExitStatus.OK


async def _copy(source: Location, target: Location) -> ExitStatus:
    async with _existing(source) as old, Backlog.open(target.where) as new:
        copied = await old.copy_to(new)
    say(f"{target}: {counted(copied.rows, 'row')} of {counted(copied.manifests, 'manifest')} added")
    say(f"  {counted(copied.calls, 'call is')} new there, {copied.joined:,} there already")
    return ExitStatus.OK


@asynccontextmanager
async def _existing(place: Location) -> AsyncIterator[Backlog]:
    where = place.where
    if isinstance(where, Path) and not await asyncio.to_thread(where.exists):
        raise ConfigError(f"{place}: there is no such backlog; make one with: ekb backlog add {place} MANIFEST")
    async with Backlog.open(where) as backlog:
        yield backlog
