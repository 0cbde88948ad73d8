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

from ekb_async import SessionConfig
from ekb_async.backlog import Backlog, Cause
from ekb_async.cli.account import open_session
from ekb_async.cli.ending import ExitStatus, finish, need_output, say
from ekb_async.cli.progress import display
from ekb_async.cli.run_progress import RunProgress
from ekb_async.errors import ConfigError, OutcomeUnknownError

app = typer.Typer(help="Work through many invoices, over many runs; nothing is paid twice.", no_args_is_help=True)

_SHOWN_CAUSES = 20
_UNKNOWN = OutcomeUnknownError.__name__
_SHOWN_CODES = 10


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


Database = Annotated[Path, typer.Argument(metavar="DB", help="The backlog's file.")]
Manifests = Annotated[
    list[Path] | None,
    typer.Argument(metavar="MANIFEST...", help="CSV or JSON Lines: kind, file, invoice_id, staff_id, file_name, ref."),
]
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
def add(db: Database, manifests: Manifests = None, flows: Flows = None, kinds: FlowKinds = None) -> None:
    """Add the rows of manifests, or the invoices of documents; the file is made if there is none."""
    finish(_add(db, manifests or [], flows, kinds or []))


@app.command()
def run(
    db: Database,
    ocr_rate: OcrRate = 1.0,
    verify_rate: VerifyRate = 1.0,
    files: FilesDirectory = None,
    hold_unknown: HoldUnknown = False,
) -> None:
    """Make the calls that are pending. Recognition and verification are billed."""
    finish(
        _run(db, files, ocr_rate=ocr_rate, verify_rate=verify_rate, repeat_unknown=not hold_unknown),
        go_on=f"Nothing that was answered is lost. Go on with: ekb backlog run {db}",
    )


@app.command()
def status(db: Database, as_json: AsJson = False) -> None:
    """Say how many rows are in which state, why rows failed and what to do."""
    finish(_status(db, as_json=as_json))


@app.command()
def retry(db: Database, cause: CauseOption = None, unknown: Unknown = False) -> None:
    """Make failed rows pending again; those whose outcome is unknown only with --unknown."""
    finish(_retry(db, cause, unknown=unknown))


@app.command()
def export(
    db: Database,
    output: Output,
    state: StateOption = None,
    kind: KindOption = None,
    lang: LanguageOption = Language.EN,
) -> None:
    """Write rows with their results."""
    finish(_export(db, output, state, kind, lang))


@app.command()
def report(db: Database, output: ReportFile = Path("report.html"), lang: LanguageOption = Language.EN) -> None:
    """Write a page for people: totals by kind and month, what cannot be used, what failed, how fast it went."""
    finish(_report(db, output, lang))


async def _add(db: Path, manifests: list[Path], flows: Path | None, kinds: list[Kind]) -> ExitStatus:
    if not manifests and flows is None:
        raise ConfigError("give a manifest, or --flows with a file of documents' codes")
    if kinds and flows is None:
        raise ConfigError("--kind says what the invoices of --flows become; a manifest has a column for it")
    for file in (*manifests, *([flows] if flows else [])):
        if not await asyncio.to_thread(file.exists):
            raise ConfigError(f"{file}: there is no such file")
    async with Backlog.open(db) as backlog:
        for manifest in manifests:
            found = await backlog.add_manifest(manifest)
            say(f"{manifest}: {found.added:,} added, {found.duplicates:,} the same as another row")
        if flows is not None:
            await _add_flows(backlog, flows, kinds or [Kind.DETAIL])
    return ExitStatus.OK


async def _add_flows(backlog: Backlog, flows: Path, kinds: list[Kind]) -> None:
    async with open_session() as ekb:
        found = await backlog.add_flows(ekb, flows, kinds=[kind.value for kind in kinds])
    say(f"{flows}: {found.added:,} added, {found.duplicates:,} the same as another row")
    if found.missing:
        shown = [*found.missing[:_SHOWN_CODES], *(["…"] if len(found.missing) > _SHOWN_CODES else [])]
        say(f"  {len(found.missing):,} codes unknown or without invoices: {', '.join(shown)}")


async def _run(db: Path, files: Path | None, **settings: Any) -> ExitStatus:
    config = SessionConfig(**settings)
    async with _existing(db) as backlog, open_session(config) as ekb:
        with display("backlog", stays=True) as shown:
            summary = await backlog.run(ekb, progress=RunProgress(shown), files=files)
        causes = await backlog.causes(_SHOWN_CAUSES)
    say(", ".join(f"{count:,} {state}" for state, count in summary.counts.items() if count or state == "done"))
    for line in _lines_of(causes, summary.counts["failed"]):
        say(line)
    if summary.counts["pending"] and files is None:
        say(f"Rows of kind download need a directory: ekb backlog run {db} --files DIR")
    if summary.failures.keys() - {_UNKNOWN}:
        say(f"Make failed rows pending again with: ekb backlog retry {db}")
    if _UNKNOWN in summary.failures:
        say(f"Make calls again that may have been paid for with: ekb backlog retry {db} --unknown")
    if summary.counts["failed"]:
        return ExitStatus.SOME_FAILED
    return ExitStatus.OK


async def _status(db: Path, *, as_json: bool) -> ExitStatus:
    need_output()
    async with _existing(db) as backlog:
        counts, causes = await backlog.counts(), await backlog.causes(_SHOWN_CAUSES)
        maybe_billed = await backlog.maybe_billed()
    if as_json:
        found = {"counts": counts, "maybe_billed": maybe_billed, "causes": causes}
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return ExitStatus.OK
    sys.stdout.write("".join(f"{state:<8}{count:>12,}\n" for state, count in counts.items()))
    sys.stdout.write("".join(f"{line}\n" for line in _lines_of(causes, counts["failed"])))
    if maybe_billed:
        sys.stdout.write(f"{maybe_billed:,} billed calls lost their answer and may have been paid for.\n")
    return ExitStatus.OK


async def _retry(db: Path, cause: str | None, *, unknown: bool) -> ExitStatus:
    async with _existing(db) as backlog:
        say(f"{await backlog.retry(cause=cause, unknown=unknown):,} rows are pending again")
    return ExitStatus.OK


async def _export(db: Path, output: Path, state: State | None, kind: Kind | None, lang: Language) -> ExitStatus:
    async with _existing(db) as backlog:
        say(f"{await backlog.export(output, state, kind=kind, lang=lang):,} rows in {output}")
    return ExitStatus.OK


async def _report(db: Path, output: Path, lang: Language) -> ExitStatus:
    async with _existing(db) as backlog:
        say(f"{await backlog.report(output, lang=lang):,} rows in {output}")
    return ExitStatus.OK


@asynccontextmanager
async def _existing(db: Path) -> AsyncIterator[Backlog]:
    if not await asyncio.to_thread(db.exists):
        raise ConfigError(f"{db}: there is no such backlog; make one with: ekb backlog add {db} MANIFEST")
    async with Backlog.open(db) as backlog:
        yield backlog


def _lines_of(causes: list[Cause], failed: int) -> list[str]:
    """What failed, how often, and what to do; `failed` are the failed rows in all."""
    lines = []
    for cause in causes:
        lines.append(f"{cause.rows:>12,} failed  {cause.error_type}: {cause.error}")
        if cause.hint:
            lines.append(f"{'':<20}{cause.hint}")
    if rest := failed - sum(cause.rows for cause in causes):
        lines.append(f"{rest:>12,} failed  for other reasons; an export names each")
    return lines
