"""What is added to a backlog: rows of manifests, and invoices that the vendor has."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from datetime import date
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ekb_async.aio.tasks import cancel_and_wait, start_task
from ekb_async.backlog.input import vendor
from ekb_async.backlog.input.flows import FlowCodes, rows_of
from ekb_async.backlog.input.given import GivenRows, Row
from ekb_async.backlog.input.manifest import Manifest
from ekb_async.backlog.input.reading import ReadRow, RowReader, has_local_file
from ekb_async.backlog.input.rows.kinds import KINDS, PAID
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.input.sources.files import ALL, FileSource
from ekb_async.backlog.input.sources.sources import SourceKind, open_source, source_kind
from ekb_async.backlog.input.sources.stopping import Stopping
from ekb_async.backlog.limits import LIMITS
from ekb_async.backlog.store.call_store import CallStore
from ekb_async.backlog.store.places import BESIDE
from ekb_async.backlog.store.values.reports import AddReport
from ekb_async.errors import ConfigError
from ekb_async.models import InvoiceKind
from ekb_async.storage.sqlite.thread import Worker, opened_in_thread
from ekb_async.validation import checked_choice, checked_inputs

if TYPE_CHECKING:
    from ekb_async.session.session import EkbSession

T = TypeVar("T")

_Source = Manifest | FileSource | GivenRows


class Adding:
    """The part of a `Backlog` that adds rows."""

    _store: CallStore

    def __init__(self) -> None:
        self._adding = asyncio.Lock()

    async def add(
        self, rows: Iterable[Row] | AsyncIterable[Row], *, read: bool = True, again: bool = False
    ) -> AddReport:
        """Add rows given as objects, all or none; otherwise as `add_manifest` does.

        `rows` may be of any length, also an async iterable. Raises `ManifestError` with number and field of each
        malformed row, the first fifty at most, and the errors of the iterable.
        """
        checked_inputs("rows", rows)
        async with (
            self._import(),
            opened_in_thread(GivenRows, "rows") as (source, thread),
            self._reader(read) as reader,
        ):
            async with aclosing(_parts(rows)) as parts:
                async for part in parts:
                    await self._take(source.checked(part), source, thread, reader)
            source.finish()
            return await self._commit(source, reader, again=again)

    async def add_manifest(
        self,
        path: str | PathLike[str],
        *,
        roots: Iterable[str | PathLike[str]] = (),
        kind: str = "",
        staff_id: str = "",
        read: bool = True,
        again: bool = False,
    ) -> AddReport:
        """Add the rows of a manifest (.csv, .jsonl, .ndjson, .xlsx), all or none. Local files are hashed.

        Local files must lie under the folder of the manifest or under one of `roots` once links are resolved. A row
        that the backlog already has, from this manifest or another, is not added again and changes no state. Rows are
        matched by the content of their call and their `ref`, or by content and file if they have no `ref`; among
        several matches, by all their values, else by their order. If the call of a matched row is not done, it is made
        with the new values of the row. Adding a row never repeats a failed call; `retry` does. `kind` and `staff_id`
        are for rows without their own. Rows that were purged count as added, unless `again` is true: then their calls
        are made again.

        With `read`, local files are read for their invoices, which takes some 10 ms per file and sends nothing. Rows
        whose files name the same invoices with certainty share one call, made from the file that the vendor takes best;
        an XML or OFD file alone is checked by its fields. PDFs and pictures need the extra `einvoice`.

        Raises `ManifestError` with file, line and column of each malformed row, the first fifty at most, or if the
        encoding is not certain.
        """
        return await self._add_source(
            lambda _: Manifest(Path(path), roots, kind=kind, staff_id=staff_id), path, read=read, again=again
        )

    async def add_folder(
        self,
        path: str | PathLike[str],
        *,
        kind: str = "verify",
        staff_id: str = "",
        read: bool = True,
        unpack_to: str | PathLike[str] | None = None,
    ) -> AddReport:
        """Add every invoice file of a folder and the folders in it, all or none; otherwise as `add_manifest` does.

        `kind` is `ocr`, or `verify` with a `staff_id`. ZIP archives are unpacked under `unpack_to`, by default in a
        folder beside the backlog, or beside `path` if that is in a database, with its name and `.files`. Files that are
        no invoices by their content, and hidden ones, are left out and listed in the report. Raises `ConfigError` for a
        wrong argument, `ManifestError` if the folder cannot be read, `StorageError` if an archive cannot be unpacked.
        """
        return await self._add_files(path, "folder", kind, staff_id, read=read, unpack_to=unpack_to)

    async def add_archive(
        self,
        path: str | PathLike[str],
        *,
        kind: str = "verify",
        staff_id: str = "",
        read: bool = True,
        unpack_to: str | PathLike[str] | None = None,
    ) -> AddReport:
        """Add every invoice file of a ZIP archive, all or none, as `add_folder` does for a folder.

        Raises as `add_folder` does, and `ManifestError` if the archive is damaged or too large.
        """
        return await self._add_files(path, "archive", kind, staff_id, read=read, unpack_to=unpack_to)

    async def add_source(
        self,
        path: str | PathLike[str],
        *,
        roots: Iterable[str | PathLike[str]] = (),
        kind: str = "",
        staff_id: str = "",
        read: bool = True,
        unpack_to: str | PathLike[str] | None = None,
        again: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> AddReport:
        """Add what a path is: a folder, a ZIP archive, a manifest, or a single invoice file.

        The arguments are those of `add_folder` and `add_manifest`; the `kind` of files is `verify` by default.
        `progress` is called now and then with the number of rows so far. Raises as these methods do, and
        `ManifestError` if the path is nothing that can be added.
        """
        unpacked, own = self._unpacked(Path(path), unpack_to)

        def opening(stopping: Stopping) -> Manifest | FileSource:
            return open_source(Path(path), unpacked, stopping, roots=roots, kind=kind, staff_id=staff_id, without=own)

        return await self._add_source(opening, path, read=read, again=again, progress=progress)

    async def _add_files(
        self,
        path: str | PathLike[str],
        wanted: SourceKind,
        kind: str,
        staff_id: str,
        *,
        read: bool,
        unpack_to: str | PathLike[str] | None,
    ) -> AddReport:
        unpacked, own = self._unpacked(Path(path), unpack_to)

        def opening(stopping: Stopping) -> FileSource:
            if (found := source_kind(Path(path))) != wanted:
                raise ConfigError(f"{path}: this is no {wanted}, but a {found}")
            return FileSource(Path(path), unpacked, kind=kind, staff_id=staff_id, without=own, stopping=stopping)

        return await self._add_source(opening, path, read=read)

    def _unpacked(self, source: Path, unpack_to: str | PathLike[str] | None) -> tuple[Path, list[Path]]:
        """Return where archives are unpacked, and the backlog's own files, which no folder has as invoices."""
        file = self._store.file
        own = [] if file is None else [file, *(file.with_name(file.name + suffix) for suffix in BESIDE)]
        beside = source.absolute() if file is None else file
        return beside.with_name(f"{beside.name}.files") if unpack_to is None else Path(unpack_to), own

    async def _add_source(
        self,
        opening: Callable[[Stopping], Manifest | FileSource],
        path: str | PathLike[str],
        *,
        read: bool,
        again: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> AddReport:
        stopping = Stopping()
        async with (
            self._import(),
            opened_in_thread(partial(opening, stopping), path, stopping.stop) as (source, thread),
            self._reader(read) as reader,
        ):
            await self._take(source.rows(), source, thread, reader, progress)
            return await self._commit(source, reader, again=again)

    @asynccontextmanager
    async def _reader(self, read: bool) -> AsyncIterator[RowReader | None]:  # noqa: FBT001 - as the option
        if not read:
            yield None
            return
        async with RowReader(self._store.known_contents) as reader:
            yield reader

    async def _take(
        self,
        rows: Iterator[ManifestRow],
        source: _Source,
        thread: Worker,
        reader: RowReader | None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        """Import rows part by part, once their files are read; the iterator is used in the thread."""
        count = 0
        batch = await thread.call(list, _next_rows(rows))
        while batch:
            if reader is not None and any(map(has_local_file, batch)):
                found = await reader.read(batch, source.locate)
                if isinstance(source, FileSource):
                    found = list(_kept(batch, found, source))
                batch = [row for each in found for row in each.rows]
            # The next rows are read while these are stored.
            reading = thread.call(list, _next_rows(rows))
            following = start_task(reading, asyncio.get_running_loop(), name="ekb rows to add")
            try:
                await self._store.import_rows(batch)
            except BaseException:
                await cancel_and_wait(following)
                raise
            count += len(batch)
            batch = await following
            if progress is not None:
                progress(count)

    async def _commit(self, source: _Source, reader: RowReader | None, *, again: bool) -> AddReport:
        apart = await self._other_folders(source.path) if isinstance(source, FileSource) else ()
        report = await self._store.commit_import(
            source.path, source.columns, source.own_columns, again=again, apart=apart
        )
        unread = "" if reader is None else reader.missing
        if not isinstance(source, FileSource):
            return msgspec.structs.replace(report, unread=unread)
        left_out = source.left_out
        return msgspec.structs.replace(report, unread=unread, left_out=tuple(left_out), left_out_count=left_out.count)

    async def _other_folders(self, source: Path) -> list[str]:
        """Return the folders that were added before and are still there, as the backlog keeps them."""
        kept = [path for path in map(Path, await self._store.manifests()) if path.name == ALL and path != source]
        return await asyncio.to_thread(lambda: [str(each) for each in kept if _is_other_folder(each, source)])

    async def add_flows(
        self, ekb: EkbSession, path: str | PathLike[str], *, kinds: Sequence[str] = ("detail",)
    ) -> AddReport:
        """Add the invoices of documents (单据), all or none. `path` is a text file with one document code per line.

        Each invoice becomes one row per kind in `kinds` (`url`, `detail`, `download`), with the code as its `ref`.
        Codes that are unknown or have no invoices are listed in the report's `missing`. Raises `ManifestError` if the
        list cannot be read, `ConfigError` if a kind takes no invoice ID, and the errors of `EkbSession.flow_invoices`.
        """
        for kind in kinds:
            checked_choice("kind", kind, [each for each in KINDS if each not in PAID])
        missing: list[str] = []
        async with self._import(), opened_in_thread(partial(FlowCodes, Path(path)), path) as (listed, thread):
            while codes := await thread.call(listed.take, ekb.config.batch_size):
                found = await ekb.flow_invoices(codes=[each.code for each in codes])
                missing += [each.code for each in codes if not found.get(each.code)]
                await self._store.import_rows(rows_of(codes, found, kinds))
            report = await self._store.commit_import(listed.path, ())
        return msgspec.structs.replace(report, missing=tuple(dict.fromkeys(missing)))

    async def add_ledger(
        self,
        ekb: EkbSession,
        *,
        kind: str | Collection[str] = "detail",
        kinds: Collection[InvoiceKind | str] | None = None,
    ) -> AddReport:
        """Add every invoice of the vendor's ledger, all or none; rows that are there already are not added again.

        Each invoice becomes a row of `kind` (`url`, `detail`, `download`, `verify_by_id`, or several of them), with its
        ID as `ref`. `kinds` limits the invoices, as in `EkbSession.ledger`; without it, `verify_by_id`, which is
        billed, is left out for invoices other than those of value-added tax. The whole ledger is read before anything
        is added, a page at a time. Raises `ConfigError` for another kind, and the errors of `EkbSession.ledger`.
        """
        wanted = vendor.checked_kinds(kind)
        invoices = ekb.ledger(vendor.parts_of(wanted, kinds))
        count = LIMITS.rows_per_import
        return await self._fill(
            vendor.ledger_rows(invoices, wanted, any_part=kinds is not None, count=count), vendor.LEDGER
        )

    async def add_documents(
        self,
        ekb: EkbSession,
        *,
        type: str = "expense",  # noqa: A002 - the vendor's name of it
        since: date | None = None,
        kind: str | Collection[str] = "detail",
    ) -> AddReport:
        """Add the invoices of documents (单据) changed since a date or time, all or none; deleted ones are left out.

        Each invoice becomes a row of `kind` as in `add_ledger`, with the code of its document as `ref`; rows that are
        there already are not added again. `type` is as in `EkbSession.documents`, `since` is a date or time, at UTC+8
        unless it has another zone; without it all documents are read. For `verify_by_id`, which is billed, the invoices
        are looked up in the ledger, and those other than of value-added tax are left out. Raises as `add_ledger` does.
        """
        wanted = vendor.checked_kinds(kind)
        documents = ekb.documents(type, updated_since=vendor.start_of_changes(since, self._store.clock()))
        rows = vendor.document_rows(documents, wanted, ekb.ledger_invoices, count=LIMITS.rows_per_import)
        return await self._fill(rows, vendor.DOCUMENTS)

    async def _fill(self, pages: AsyncIterator[list[ManifestRow]], source: Path) -> AddReport:
        async with self._import():
            async for rows in pages:
                await self._store.import_rows(rows)
            return await self._store.commit_import(source, (), distinct=True)

    @asynccontextmanager
    async def _import(self) -> AsyncIterator[None]:
        """Import rows inside the block, one file at a time; rows that are not committed are discarded at its end."""
        async with self._adding:
            try:
                await self._store.begin_import()
                yield
            finally:
                await self._store.discard_import()


async def _parts(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncGenerator[list[Row], None]:
    """Yield rows in parts that are added at a time; between two parts, other tasks have their turn."""
    if not isinstance(rows, AsyncIterable):
        remaining = iter(rows)
        while part := list(_next_rows(remaining, LIMITS.given_seconds)):
            yield part
        return
    part = []
    async for row in rows:
        part.append(row)
        if len(part) == LIMITS.rows_per_import:
            yield part
            part = []
    yield part


def _kept(rows: Sequence[ManifestRow], found: Sequence[ReadRow], source: FileSource) -> Iterator[ReadRow]:
    """Yield what was read of files that are added, and count the others as left out."""
    for row, each in zip(rows, found, strict=True):
        if each.problem:
            source.left_out.add(source.names.get(row.file, row.file), each.problem)
        else:
            yield each
    source.names.clear()


def _is_other_folder(kept: Path, source: Path) -> bool:
    with contextlib.suppress(OSError):
        return kept.parent.is_dir() and not kept.parent.samefile(source.parent)
    return False


def _next_rows(rows: Iterator[T], seconds: float = LIMITS.import_seconds) -> Iterator[T]:
    """Yield the next rows for a fraction of a second; a caller can be cancelled between two such parts."""
    end = time.monotonic() + seconds
    for row in itertools.islice(rows, LIMITS.rows_per_import):
        yield row
        if time.monotonic() > end:
            return
