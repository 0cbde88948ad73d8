"""`ekb backlog add`: folders, archives, files and manifests, and what the vendor has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ekb_async import EkbSession
from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.manifests.headings import COLUMNS
from ekb_async.backlog.input.rows.kinds import PAID
from ekb_async.backlog.input.vendor import checked_kinds, start_of_changes
from ekb_async.cli.backlog.options import Database, Kind
from ekb_async.cli.language import texts
from ekb_async.cli.limits import LIMITS
from ekb_async.cli.location import Location, check_files
from ekb_async.cli.output import readable, say
from ekb_async.cli.people import person_argument
from ekb_async.cli.progress import Display, display
from ekb_async.cli.runner import ExitStatus
from ekb_async.cli.sessions import open_session
from ekb_async.errors import ConfigError
from ekb_async.protocol.endpoints import DOCUMENT_TYPES

Sources = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="A folder of invoice files, a ZIP archive of them, a single file, or a manifest: CSV, JSON Lines or .xlsx"
        f" with the columns {', '.join(COLUMNS)}.",
    ),
]

RootFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Allow files under this folder, besides those under the manifest's own folder. Repeatable.",
    ),
]

Flows = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Add the invoices of the documents whose codes are in this file, one per line."),
]

FromLedger = Annotated[bool, typer.Option("--ledger", help="Add every invoice of the enterprise.")]

FromDocuments = Annotated[
    bool, typer.Option("--documents", help="Add the invoices of documents of a --type that have changed --since.")
]

DocumentType = Annotated[
    str | None,
    typer.Option(
        "--type",
        metavar="TYPE",
        help="The type of --documents: expense (the default), loan, payment, requisition, custom, receipt or permit.",
    ),
]

Since = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        metavar="DATE",
        formats=["%Y-%m-%d", "%Y%m%d", "%Y-%m-%dT%H:%M:%S"],
        help="Only --documents that have changed since this date, at UTC+8. By default all.",
    ),
]

AddedKinds = Annotated[
    list[Kind] | None,
    typer.Option(
        "--kind",
        help="What to add. For files verify (the default) or ocr; for rows of a manifest without a kind, any. For each"
        " invoice of --flows, --ledger or --documents url, detail (the default) or download, and except for --flows"
        " verify_by_id, which is billed, for value-added-tax invoices only; repeatable there.",
    ),
]

StaffId = Annotated[
    str,
    typer.Option(
        "--staff-id",
        metavar="ID",
        help="The person who verifies, where a row names none: the ID, an e-mail address, phone:NUMBER or code:NUMBER.",
    ),
]
NoRead = Annotated[
    bool,
    typer.Option("--no-read", help="Do not read the files, so that only equal files share a call, not equal invoices."),
]
Again = Annotated[bool, typer.Option("--again", help="Also what was purged, whose calls are made and billed again.")]
UnpackTo = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where archives are unpacked; by default beside the backlog, in DB.files."),
]


class VendorRows(NamedTuple):
    """The options of the command that name invoices of the vendor."""

    flows: Path | None
    ledger: bool
    documents: bool
    document_type: str | None
    since: datetime | None
    kinds: list[str]

    @property
    def any(self) -> bool:
        """Whether anything is wanted from the vendor."""
        return self.flows is not None or self.ledger or self.documents

    def check(self, *, has_sources: bool) -> None:
        """Raise `ConfigError` if an option lacks the one that it belongs to or is wrong, or nothing is to be added."""
        if not has_sources and not self.any:
            raise ConfigError(
                "give a folder, an archive, a file or a manifest, --flows with a file of document codes, --ledger, or"
                " --documents"
            )
        if self.kinds and has_sources and self.any:
            raise ConfigError("with --kind, add files and what the vendor has by two commands")
        if len(self.kinds) > 1 and has_sources:
            raise ConfigError("files are added for one --kind at a time")
        for name, value in (("--type", self.document_type), ("--since", self.since)):
            if value is not None and not self.documents:
                raise ConfigError(f"{name} belongs to --documents")
        self._check_values()

    def _check_values(self) -> None:
        """Raise `ConfigError` for a value that the backlog would refuse, before anything is added."""
        if self.any and self.kinds and (self.ledger or self.documents):
            checked_kinds(self.kinds)
        if self.flows is not None and (wrong := [kind for kind in self.kinds if kind in PAID]):
            raise ConfigError(f"--flows takes no --kind {wrong[0]}")
        if self.document_type is not None:
            _check_type(self.document_type)
        start_of_changes(self.since, time.time())

    async def add(self, backlog: Backlog, ekb: EkbSession) -> None:
        """Add what is wanted, and say how much it was."""
        kinds = self.kinds or ["detail"]
        if self.flows is not None:
            await _add_flows(backlog, ekb, self.flows, kinds)
        if self.ledger:
            _say_added(texts("ledger"), await backlog.add_ledger(ekb, kind=kinds))
        if self.documents:
            kind = self.document_type or "expense"
            report = await backlog.add_documents(ekb, type=kind, since=self.since, kind=kinds)
            _say_added(texts("{type} documents", type=kind), report)


def _check_type(name: str) -> None:
    if name not in DOCUMENT_TYPES:
        raise ConfigError(f"--type must be one of {', '.join(DOCUMENT_TYPES)}")


async def _add_flows(backlog: Backlog, ekb: EkbSession, flows: Path, kinds: list[str]) -> None:
    report = await backlog.add_flows(ekb, flows, kinds=kinds)
    _say_added(readable(str(flows)), report)
    if report.missing:
        codes = [*report.missing[: LIMITS.shown_codes], *(["…"] if len(report.missing) > LIMITS.shown_codes else [])]
        missing = texts(
            "{count:,} code is unknown or without invoices: {codes}",
            "{count:,} codes are unknown or without invoices: {codes}",
            count=len(report.missing),
            codes=", ".join(codes),
        )
        say(f"  {missing}")


async def add(
    db: Database,
    sources: Sources = None,
    roots: RootFolders = None,
    kinds: AddedKinds = None,
    staff_id: StaffId = "",
    no_read: NoRead = False,
    unpack_to: UnpackTo = None,
    flows: Flows = None,
    ledger: FromLedger = False,
    documents: FromDocuments = False,
    document_type: DocumentType = None,
    since: Since = None,
    again: Again = False,
) -> ExitStatus:
    """Add invoice files, the rows of manifests, or invoices that the vendor has. Nothing is sent or billed.

    The backlog is created if it does not exist. What it has already, or had
    before a purge, is not added again. Files are read for their invoices, so
    that all files of an invoice share one call.
    """
    place, sources, roots = Location(db), sources or [], roots or []
    wanted = VendorRows(flows, ledger, documents, document_type, since, [str(kind.value) for kind in kinds or []])
    wanted.check(has_sources=bool(sources))
    staff_id = person_argument(staff_id)
    files = [*sources, *([flows] if flows else [])]
    check_files(*files, *roots, unpack_to)
    await _check_existing(files)
    async with AsyncExitStack() as stack:
        # Opened first, so that no backlog is created if the settings are wrong.
        ekb = await stack.enter_async_context(open_session(dsn=place.dsn)) if wanted.any else None
        backlog = await stack.enter_async_context(Backlog.open(place.where))
        kind = wanted.kinds[0] if wanted.kinds else ""
        add_source = partial(
            backlog.add_source, roots=roots, kind=kind, staff_id=staff_id, unpack_to=unpack_to, again=again
        )
        for source in sources:
            with display(texts.word("progress", "read")) as screen:
                report = await add_source(source, read=not no_read, progress=partial(_show_count, screen))
            _say_added(readable(str(source)), report)
        if ekb is not None:
            await wanted.add(backlog, ekb)
    return ExitStatus.OK


async def _check_existing(files: list[Path]) -> None:
    for file in files:
        if not await asyncio.to_thread(file.exists):
            raise ConfigError(f"{file}: there is no such file or folder")


def _show_count(screen: Display, count: int) -> None:
    screen.update(done=count, failed=0, total=None)


def _say_added(source: str, report: AddReport) -> None:
    rows = report.added + report.duplicates - report.present
    say(texts("{source}: {count:,} row added", "{source}: {count:,} rows added", count=rows, source=source))
    for line in _about(report):
        say(f"  {line}")
    for each in report.left_out[: LIMITS.shown_files]:
        say("  " + texts("left out: {name}: {reason}", name=each.name, reason=texts.rendered(each.reason)))
    if (rest := report.left_out_count - LIMITS.shown_files) > 0:
        say("  " + texts("left out: {count:,} more", "left out: {count:,} more", count=rest))


def _about(report: AddReport) -> Iterator[str]:
    """Yield what is to be said of the rows that were added, and of those that were not."""
    if report.added:
        yield texts("{count:,} call to make", "{count:,} calls to make", count=report.added)
    if others := report.duplicates - report.present - report.same_invoice:
        yield texts(
            "{count:,} row has the same file or ID as another row, and shares its call",
            "{count:,} rows have the same file or ID as another row, and share its call",
            count=others,
        )
    if report.same_invoice:
        yield texts(
            "{count:,} row is another file of an invoice, and shares its call",
            "{count:,} rows are other files of an invoice, and share its call",
            count=report.same_invoice,
        )
    if report.present:
        yield texts(
            "{count:,} row was there already, and was not added again",
            "{count:,} rows were there already, and were not added again",
            count=report.present,
        )
    if report.purged:
        yield texts(
            "{count:,} row was purged with its result, and was not added again; add it with --again",
            "{count:,} rows were purged with their results, and were not added again; add them with --again",
            count=report.purged,
        )
    if report.conflicts:
        yield texts(
            "{count:,} row contradicts another file about its invoice, and has a warning",
            "{count:,} rows contradict other files about their invoices, and have a warning",
            count=report.conflicts,
        )
    if report.left_out_count:
        yield texts("{count:,} file left out", "{count:,} files left out", count=report.left_out_count)
    if report.unread:
        yield texts("some files were not read: {reason}", reason=texts.rendered(report.unread))
