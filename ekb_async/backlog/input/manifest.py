"""Manifests: lists of wanted calls, as CSV or JSON Lines.

A manifest is read as a stream and checked row by row. A malformed row raises an error with its line and column.

A signed URL is a short-lived secret, so the backlog stores it without its signature, together with the byte offset of
its row. The full URL is read from the manifest again just before its call is made.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import msgspec

from ekb_async.backlog.input.fields import BY_FIELDS, BY_ID, FIELDS, InvoiceFields, WrongFieldError, fields_for
from ekb_async.backlog.input.identity import file_identity, invoice_identity
from ekb_async.backlog.input.roots import Roots
from ekb_async.errors import ConfigError, ManifestError
from ekb_async.files.local_files import open_regular
from ekb_async.models.files import has_host, is_url
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import is_stored_form_of, without_signature

COLUMNS = ("kind", "file", "invoice_id", "staff_id", "file_name", "ref", "tenant", *FIELDS)
OF_FILES = ("ocr", "verify")
CHECKS = (BY_ID, BY_FIELDS)
"""The kinds that check an invoice at the tax authority without its file."""
PAID = (*OF_FILES, *CHECKS)
LOOKUPS = ("url", "detail")
KINDS = (*PAID, *LOOKUPS, "download")
_OF_IDS = (*LOOKUPS, "download", BY_ID)

_MAX_LINE_BYTES = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class ManifestRow(NamedTuple):
    """One checked row. `file` is as written, except that a URL has lost its signature.

    `start` and `length` locate the row in the manifest, in bytes, if a signature was removed; otherwise both are 0.
    """

    line: int
    start: int = 0
    length: int = 0
    kind: str = ""
    identity: str = ""
    ref: str = ""
    file: str = ""
    invoice_id: str = ""
    staff_id: str = ""
    file_name: str = ""
    tenant: str = ""
    date: str = ""


_Record = tuple[int, int, int, tuple[str, ...]]
"""Line, start and length of a row, and its values in the order of `COLUMNS`; "" where the manifest has no value."""


def kept_path(path: Path, what: str) -> Path:
    """Return the absolute path, as the backlog stores it. Raises `ManifestError` if it is not UTF-8."""
    absolute = path.absolute()
    if (printable := os.fsencode(absolute).decode(errors="replace")) != str(absolute):
        raise ManifestError.at(printable, f"the path of {what} must be UTF-8, as the backlog keeps it")
    return absolute


def has_control(column: str, value: str) -> bool:
    """Return whether a value has control characters that its column does not allow."""
    return "\0" in value or (column != "ref" and _CONTROL.search(value) is not None)


class Manifest:
    """A manifest, open for reading. `columns` is its CSV header, empty for JSON Lines.

    Its local files must lie under its folder or under one of `roots`. Raises `ManifestError` if the manifest is
    missing, has another suffix or a wrong header, `ConfigError` if a root is not a folder.
    """

    def __init__(self, path: Path, roots: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.path = kept_path(path, "a manifest")
        self._roots = Roots(self.path.parent, roots)
        suffix = path.suffix.lower()
        if suffix not in {".csv", ".jsonl", ".ndjson"}:
            raise ManifestError.at(path, "a manifest ends in .csv, .jsonl or .ndjson")
        self._lines = _Lines(open_list(path, "manifest"), str(path))
        self._texts = iter(self._lines)
        self.columns: tuple[str, ...] = ()
        try:
            if suffix == ".csv":
                self._cells = csv.reader(self._texts, strict=True)
                self.columns = self._header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._lines.source.close()

    def rows(self) -> Iterator[ManifestRow]:
        """Yield the rows in order, and hash their local files. Raises `ManifestError` at the first malformed row."""
        return map(self._checked, self._csv_records() if self.columns else self._json_records())

    def _header(self) -> tuple[str, ...]:
        try:
            names = tuple(name.strip() for name in next(self._cells))
        except StopIteration:
            raise ManifestError.at(self.path, "the manifest is empty; its first line names the columns") from None
        except csv.Error as error:
            raise ManifestError.at(self.path, str(error), line=1) from None
        for name in names:
            self._check_column(1, name)
            if names.count(name) > 1:
                self._wrong(1, name, "this column is there twice")
        if "kind" not in names:
            self._wrong(1, "kind", "this column is missing")
        return names

    def _csv_records(self) -> Iterator[_Record]:
        lines, columns = self._lines, len(self.columns)
        # A column that the manifest lacks takes its value from an empty cell appended to each row.
        values_of = itemgetter(*(self.columns.index(name) if name in self.columns else columns for name in COLUMNS))
        while True:
            line, start = lines.number + 1, lines.offset
            try:
                cells = next(self._cells)
            except StopIteration:
                return
            except csv.Error as error:
                raise ManifestError.at(self.path, str(error), line=line) from None
            if len(cells) != columns:
                if "".join(cells[columns:]).strip():
                    self._wrong(line, str(columns + 1), f"the header has only {columns} columns")
                cells = [*cells[:columns], *[""] * (columns - len(cells))]
            # A cell of blanks looks empty in a spreadsheet, so a row of them counts as empty too.
            if "".join(cells).strip():
                cells.append("")
                yield line, start, lines.offset - start, values_of(cells)

    def _json_records(self) -> Iterator[_Record]:
        lines, start = self._lines, 0
        for text in self._texts:
            if text.strip():
                cells = self._json_cells(lines.number, text)
                values = tuple(cells.get(name, "") for name in COLUMNS)
                yield lines.number, start, lines.offset - start, values
            start = lines.offset

    def _json_cells(self, line: int, text: str) -> dict[str, str]:
        try:
            fields = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise ManifestError.at(self.path, "this is no JSON", line=line) from None
        if not isinstance(fields, dict):
            raise ManifestError.at(self.path, "each line is one JSON object", line=line)
        cells = {}
        for name, value in fields.items():
            self._check_column(line, name)
            # An amount may be any number, since its text is the shortest that means the same.
            allowed = str | int | float if name == "amount" else str | int
            if value is not None and (isinstance(value, bool) or not isinstance(value, allowed)):
                self._wrong(line, name, "the value must be a text")
            cells[name] = "" if value is None else str(value)
        return cells

    def _checked(self, record: _Record) -> ManifestRow:
        line, start, length, values = record
        # Printable text has no control characters, and this is the fastest check.
        if not "".join(values).isprintable():
            self._check_characters(line, values)
        kind, file, invoice_id, staff_id, file_name, ref, tenant, code, number, date, amount, check_code = values
        kind, invoice_id, staff_id, tenant = kind.strip(), invoice_id.strip(), staff_id.strip(), tenant.strip()
        if file_name.isspace():
            file_name = ""
        if kind not in KINDS:
            self._wrong(line, "kind", f"{redact(kind)[:40]!r} is none of {', '.join(KINDS)}")
        needs_file, needs_id = kind in OF_FILES, kind in _OF_IDS
        if bool(file.strip()) is not needs_file:
            self._wrong(line, "file", f"{kind} {'needs a' if needs_file else 'takes no'} value here")
        if bool(invoice_id) is not needs_id:
            self._wrong(line, "invoice_id", f"{kind} {'needs a' if needs_id else 'takes no'} value here")
        if kind == "verify" and not staff_id:
            self._wrong(line, "staff_id", "verify needs the ID of the person who verifies")
        identity = invoice_identity(kind, invoice_id)
        # Few rows have these values, so they are not looked at one by one.
        if code or number or date or amount or check_code or kind == BY_FIELDS:
            sent, date = self._checked_fields(line, kind, (code, number, date, amount, check_code))
            identity = identity if sent is None else sent.identity
        if not needs_file:
            return ManifestRow(line, 0, 0, kind, identity, ref, "", invoice_id, staff_id, file_name, tenant, date)
        kept, identity = self._checked_file(line, kind, file)
        if kept == file:
            start = length = 0
        return ManifestRow(
            line, start, length, kind, identity, ref, kept, invoice_id, staff_id, file_name, tenant, date
        )

    def _checked_fields(self, line: int, kind: str, fields: Sequence[str]) -> tuple[InvoiceFields | None, str]:
        try:
            return fields_for(kind, fields)
        except WrongFieldError as error:
            self._wrong(line, error.column, str(error))

    def _checked_file(self, line: int, kind: str, file: str) -> tuple[str, str]:
        """Return the file as the backlog stores it, and the identity of its call."""
        kept = file
        if is_url(file):
            if not has_host(file):
                self._wrong(line, "file", "this URL cannot be read")
            kept = without_signature(file)
        elif _SCHEME.match(file):
            self._wrong(line, "file", "only http and https URLs can be read by the vendor")
        try:
            return kept, file_identity(kind, file, self._roots.find)
        except ConfigError as error:
            self._wrong(line, "file", str(error))

    def _check_characters(self, line: int, values: tuple[str, ...]) -> None:
        for name, value in zip(COLUMNS, values, strict=True):
            if has_control(name, value):
                self._wrong(line, name, "the value has control characters")

    def _check_column(self, line: int, name: str) -> None:
        if name not in COLUMNS:
            self._wrong(line, redact(name)[:40], f"unknown; the columns are {', '.join(COLUMNS)}")

    def _wrong(self, line: int, column: str, what: str) -> NoReturn:
        raise ManifestError.at(self.path, what, line=line, column=column)


class _Lines:
    """The lines of a file as text; `number` is that of the last line read, `offset` the byte after it."""

    def __init__(self, source: BinaryIO, name: str) -> None:
        self.source = source
        self.number = 0
        self.offset = 0
        self._name = name

    def __iter__(self) -> Iterator[str]:
        read = self.source.readline
        while line := read(_MAX_LINE_BYTES + 1):
            self.number += 1
            self.offset += len(line)
            if len(line) > _MAX_LINE_BYTES:
                raise ManifestError.at(self._name, "longer than 1 MiB", line=self.number)
            try:
                yield line.decode() if self.number > 1 else line.decode("utf-8-sig")
            except UnicodeDecodeError:
                reason = "not UTF-8; save the manifest as UTF-8"
                raise ManifestError.at(self._name, reason, line=self.number) from None


def signed_url(manifest: Path, columns: tuple[str, ...], start: int, length: int, unsigned: str) -> str:
    """Return the signed URL of a row that is stored without its signature.

    Raises `ConfigError` if the manifest cannot be read or has another URL at that position.
    """
    try:
        with _regular(manifest, "manifest") as source:
            source.seek(start)
            text = source.read(length).decode("utf-8-sig")
        if columns:
            url = dict(zip(columns, next(csv.reader(io.StringIO(text, newline=""))), strict=False))["file"]
        else:
            url = msgspec.json.decode(text, type=_FileOnly).file
        if is_stored_form_of(unsigned, url):
            return url
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


class _FileOnly(msgspec.Struct):
    file: str


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
