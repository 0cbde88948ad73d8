"""`ekb backlog`: fill a backlog from manifests, work through it, look at it, export it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from ekb_async import EkbSession, SessionConfig
from ekb_async.backlog import Backlog
from ekb_async.cli.ending import ExitStatus, finish, need_output, say
from ekb_async.cli.progress import display
from ekb_async.errors import ConfigError

app = typer.Typer(help="Work through many invoices, over many runs; nothing is paid twice.", no_args_is_help=True)

Database = Annotated[Path, typer.Argument(metavar="DB", help="The backlog's file.")]
Manifests = Annotated[
    list[Path], typer.Argument(metavar="MANIFEST", help="CSV or JSON Lines: kind, file, invoice_id, staff_id, ref.")
]
Output = Annotated[Path, typer.Argument(metavar="OUT", help="Written as its suffix says: .jsonl or .csv.")]
OcrRate = Annotated[float, typer.Option(help="Starts of OCR calls per second.")]
VerifyRate = Annotated[float, typer.Option(help="Starts of verification calls per second.")]
FilesDirectory = Annotated[
    Path | None, typer.Option("--files", metavar="DIR", help="Where files of kind download go; not in this version.")
]


@app.command()
def add(db: Database, manifests: Manifests) -> None:
    """Add the rows of manifests; the file is made if there is none."""
    finish(_add(db, manifests))


@app.command()
def run(db: Database, ocr_rate: OcrRate = 1.0, verify_rate: VerifyRate = 1.0, files: FilesDirectory = None) -> None:
    """Make the calls that are pending. Recognition and verification are billed."""
    finish(
        _run(db, ocr_rate, verify_rate),
        go_on=f"Nothing that was answered is lost. Go on with: ekb backlog run {db}",
    )


@app.command()
def status(db: Database) -> None:
    """Say how many rows are in which state, and why rows failed."""
    finish(_status(db))


@app.command()
def retry(db: Database) -> None:
    """Make failed rows pending again."""
    finish(_retry(db))


@app.command()
def export(db: Database, output: Output) -> None:
    """Write every row with its result."""
    finish(_export(db, output))


async def _add(db: Path, manifests: list[Path]) -> ExitStatus:
    for manifest in manifests:
        if not await asyncio.to_thread(manifest.exists):
            raise ConfigError(f"{manifest}: there is no such manifest")
    async with Backlog.open(db) as backlog:
        for manifest in manifests:
            report = await backlog.add_manifest(manifest)
            say(f"{manifest}: {report.added:,} added, {report.duplicates:,} the same as another row")
    return ExitStatus.OK


async def _run(db: Path, ocr_rate: float, verify_rate: float) -> ExitStatus:
    config = SessionConfig(ocr_rate=ocr_rate, verify_rate=verify_rate)
    async with _existing(db) as backlog, EkbSession.from_env(config=config) as ekb:
        with display("backlog", stays=True) as shown:
            summary = await backlog.run(
                ekb,
                progress=lambda now: shown.update(done=now.done, failed=now.counts["failed"], total=now.total),
            )
    _say_counts(summary.counts, summary.failures)
    if summary.counts["failed"]:
        say(f"Make failed rows pending again with: ekb backlog retry {db}")
        return ExitStatus.SOME_FAILED
    return ExitStatus.OK


async def _status(db: Path) -> ExitStatus:
    need_output()
    async with _existing(db) as backlog:
        counts, failures = await backlog.counts(), await backlog.failures()
    sys.stdout.write("".join(f"{state:<8}{count:>12,}\n" for state, count in counts.items()))
    sys.stdout.write("".join(f"{'':<8}{count:>12,}  {error}\n" for error, count in failures.items()))
    return ExitStatus.OK


async def _retry(db: Path) -> ExitStatus:
    async with _existing(db) as backlog:
        say(f"{await backlog.retry():,} rows are pending again")
    return ExitStatus.OK


async def _export(db: Path, output: Path) -> ExitStatus:
    async with _existing(db) as backlog:
        say(f"{await backlog.export(output):,} rows in {output}")
    return ExitStatus.OK


@asynccontextmanager
async def _existing(db: Path) -> AsyncIterator[Backlog]:
    if not await asyncio.to_thread(db.exists):
        raise ConfigError(f"{db}: there is no such backlog; make one with: ekb backlog add {db} MANIFEST")
    async with Backlog.open(db) as backlog:
        yield backlog


def _say_counts(counts: dict[str, int], failures: dict[str, int]) -> None:
    say(", ".join(f"{count:,} {state}" for state, count in counts.items() if count or state == "done"))
    for error, count in failures.items():
        say(f"  {count:,} {error}")
