"""Manifests: lists of wanted calls, as CSV, JSON Lines or a workbook (.xlsx).

A manifest is read as a stream and checked row by row. The error for malformed rows has the line and column of each.

A signed URL is a short-lived secret, so the backlog stores it without its signature, together with the byte offset of
its row. The full URL is read from the manifest again just before its call is made.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from ekb_async.backlog.input.checking import RowChecker
from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import ACCEPTED_COLUMNS
from ekb_async.backlog.input.manifests.layout import WORKBOOK, Layout
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.manifests.text_rows import CsvRows, JsonRows
from ekb_async.backlog.input.rows.roots import Roots
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.backlog.input.workbooks.sheet_rows import SheetRows, file_in
from ekb_async.errors import ConfigError, ManifestError
from ekb_async.files.local_files import open_regular
from ekb_async.i18n import message
from ekb_async.redaction.signed_urls import is_stored_form_of

_Rows = CsvRows | JsonRows | SheetRows
_READERS: dict[str, type[_Rows]] = {".csv": CsvRows, ".jsonl": JsonRows, ".ndjson": JsonRows, ".xlsx": SheetRows}
WORKBOOK_SUFFIXES = (".xls", ".et", ".xlsm", ".xlsb", ".ods", ".numbers")
"""Suffixes of workbooks that cannot be read."""
MANIFEST_SUFFIXES = tuple(_READERS)


def kept_path(path: Path, what: str) -> Path:
    """Return the absolute path, as the backlog stores it. Raises `ManifestError` if it is not UTF-8."""
    absolute = path.absolute()
    if (printable := os.fsencode(absolute).decode(errors="replace")) != str(absolute):
        raise ManifestError.at(printable, f"the path of {what} must be UTF-8, as the backlog keeps it")
    return absolute


class Manifest:
    """A manifest, open for reading. `columns` is what the backlog stores to read a row of it again (see `Layout`).

    Its local files must lie under its folder or under one of `roots`. `kind` and `staff_id` are for the rows without
    their own. Raises `ManifestError` if the manifest is missing, has another suffix, a wrong header or an encoding that
    is not certain, `ConfigError` if a root is not a folder, or `kind` or `staff_id` is wrong.
    """

    def __init__(
        self, path: Path, roots: Iterable[str | os.PathLike[str]] = (), *, kind: str = "", staff_id: str = ""
    ) -> None:
        self.path = kept_path(path, "a manifest")
        self._roots = Roots(self.path.parent, roots)
        self._problems = Problems(self.path)
        self._found = Columns()
        self._checker = RowChecker(self.path, self._found, self._roots.find, kind=kind, staff_id=staff_id)
        reader = _reader_of(path)
        self._source = open_list(path, message("manifest"))
        try:
            self._rows = reader(self._source, self._found, self._problems)
            self._check_header(self._rows)
        except BaseException:
            self.close()
            raise
        self.columns = self._rows.layout.stored

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The user's own columns, in the order in which they were found; of JSON Lines, in the rows read so far."""
        return tuple(self._found.own)

    def close(self) -> None:
        self._source.close()

    def rows(self) -> Iterator[ManifestRow]:
        """Yield the rows in order, and hash their local files.

        Raises `ManifestError` with all malformed rows at the end, or as soon as there are fifty.
        """
        checked, problems = self._checker.check, self._problems
        try:
            for record in self._rows.records():
                try:
                    row = checked(record)
                except ManifestError as error:
                    problems.add_all(error)
                    if problems.is_full:
                        break
                    continue
                yield row
        except ManifestError as error:
            problems.add_all(error)
        problems.check()

    def locate(self, row: ManifestRow) -> Path:
        """Return the path of the local file of a row. Raises `ConfigError` if it lies outside the allowed folders."""
        return self._roots.find(row.file)

    def _check_header(self, rows: _Rows) -> None:
        """Raise `ManifestError` for a wrong header. JSON Lines have none, and no columns."""
        columns = rows.layout.columns
        if columns and not self._checker.default_kind and "kind" not in columns and not self._problems.is_full:
            reason = f"this column is missing; {ACCEPTED_COLUMNS}{self._found.unknown}"
            self._problems.add(reason, line=rows.header_line, column="kind")
        self._problems.check()


def _reader_of(path: Path) -> type[_Rows]:
    suffix = path.suffix.lower()
    if suffix in WORKBOOK_SUFFIXES:
        raise ManifestError.at(path, "this kind of workbook cannot be read: save it as .xlsx")
    if suffix not in _READERS:
        raise ManifestError.at(path, "a manifest ends in .csv, .jsonl, .ndjson or .xlsx")
    return _READERS[suffix]


def signed_url(manifest: Path, columns: tuple[str, ...], start: int, length: int, unsigned: str) -> str:
    """Return the signed URL of a row that is stored without its signature.

    `columns` is that of its `Manifest`, `start` and `length` are those of its row. Raises `ConfigError` if the manifest
    cannot be read or has another URL at that position.
    """
    try:
        with _regular(manifest, message("manifest")) as source:
            layout = Layout.from_stored(columns)
            if layout.encoding == WORKBOOK:
                url = file_in(source, manifest, layout, start)
            else:
                source.seek(start)
                url = layout.file_in(source.read(length))
        if is_stored_form_of(unsigned, bare := url.strip()):
            return bare
    except OSError as error:
        raise ConfigError(
            f"the URL's signature is only in {manifest}, which cannot be read ({error.strerror}): "
            "put it back or add the row again, then run: ekb backlog retry"
        ) from None
    except (ValueError, LookupError, csv.Error, msgspec.DecodeError, StopIteration):
        pass
    raise ConfigError(
        f"{manifest} was changed since this row was added from it: add it again, then run: ekb backlog retry"
    )


def open_list(path: Path, what: str) -> BinaryIO:
    """Open a manifest or another list. Raises `ManifestError` if it is not a regular file or cannot be read."""
    try:
        if path.is_dir():
            raise ManifestError.at(path, f"this is a directory, no {what}")
        # Signed URLs are read again later, at any offset, which only a regular file allows.
        return io.BufferedReader(_regular(path, what))
    except OSError as error:
        raise ManifestError.at(path, f"the {what} cannot be read: {error.strerror}") from None


def _regular(path: Path, what: str) -> io.FileIO:
    try:
        return open_regular(path)
    except ConfigError:
        raise ManifestError.at(path, f"a {what} must be a regular file") from None
