"""Manifests: lists of wanted calls, as CSV or JSON Lines.

A manifest is read as a stream and checked row by row. The error for malformed rows has the line and column of each.

A signed URL is a short-lived secret, so the backlog stores it without its signature, together with the byte offset of
its row. The full URL is read from the manifest again just before its call is made.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import msgspec

from ekb_async.backlog.input.fields import BY_FIELDS, BY_ID, InvoiceFields, WrongFieldError, fields_for
from ekb_async.backlog.input.identity import file_identity, invoice_identity
from ekb_async.backlog.input.manifests.encodings import Lines
from ekb_async.backlog.input.manifests.headings import (
    ACCEPTED_COLUMNS,
    ACCEPTED_KINDS,
    SYNONYMS,
    column_of,
    kind_of,
    shown,
)
from ekb_async.backlog.input.manifests.layout import Layout, find_header, json_layout, names_in
from ekb_async.backlog.input.manifests.spreadsheets import check_scientific, restored
from ekb_async.backlog.input.roots import Roots
from ekb_async.errors import ConfigError, ManifestError, ManifestProblem
from ekb_async.files.local_files import open_regular
from ekb_async.models.files import has_host, is_url
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import is_stored_form_of, without_signature

COLUMNS = tuple(SYNONYMS)
OF_FILES = ("ocr", "verify")
CHECKS = (BY_ID, BY_FIELDS)
"""The kinds that check an invoice at the tax authority without its file."""
PAID = (*OF_FILES, *CHECKS)
LOOKUPS = ("url", "detail")
KINDS = (*PAID, *LOOKUPS, "download")
_NEEDS = {kind: (kind in OF_FILES, kind in {*LOOKUPS, "download", BY_ID}) for kind in KINDS}
"""Whether a kind needs a file, and whether it needs an invoice ID."""

_MAX_PROBLEMS = 50
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class ManifestRow(NamedTuple):
    """One checked row. `file` is as written, except that a URL has lost its signature.

    `start` and `length` locate the row in the manifest, in bytes, if a signature was removed; otherwise both are 0.
    `own` has the columns that only the user knows, as JSON. If its file was read, `printed` has what it says of itself
    and `keys` the names of its invoices (see `reading`); `content` is the identity of a call on this very file, and
    `form` says how well the vendor takes it, 0 best.
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
    content: str = ""
    form: int = 0
    own: str = ""
    printed: str = ""
    keys: str = ""


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
    """A manifest, open for reading. `columns` is what the backlog stores to read a row of it again (see `Layout`).

    Its local files must lie under its folder or under one of `roots`. Raises `ManifestError` if the manifest is
    missing, has another suffix, a wrong header or an encoding that is not certain, `ConfigError` if a root is not a
    folder.
    """

    def __init__(self, path: Path, roots: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.path = kept_path(path, "a manifest")
        self._roots = Roots(self.path.parent, roots)
        suffix = path.suffix.lower()
        if suffix not in {".csv", ".jsonl", ".ndjson"}:
            raise ManifestError.at(path, "a manifest ends in .csv, .jsonl or .ndjson")
        self._problems: list[ManifestProblem] = []
        self._names: dict[str, str] = {}
        self._source = open_list(path, "manifest")
        try:
            self._layout = self._csv_layout() if suffix == ".csv" else json_layout(self._source, self.path)
            self._lines = Lines(self._source, self.path, self._layout.encoding)
            self._texts = iter(self._lines)
        except BaseException:
            self.close()
            raise
        self.columns = self._layout.stored

    def close(self) -> None:
        self._source.close()

    def rows(self) -> Iterator[ManifestRow]:
        """Yield the rows in order, and hash their local files.

        Raises `ManifestError` with all malformed rows at the end, or as soon as there are fifty.
        """
        records = self._csv_records() if self._layout.columns else self._json_records()
        checked, problems = self._checked, self._problems
        try:
            for record in records:
                try:
                    row = checked(record)
                except ManifestError as error:
                    problems += error.problems
                    if len(problems) >= _MAX_PROBLEMS:
                        break
                    continue
                yield row
        except ManifestError as error:
            problems += error.problems
        if problems:
            raise _all_of(problems)

    def _csv_layout(self) -> Layout:
        header = find_header(self._source, self.path)
        columns = tuple(self._column(name) for name in header.names)
        before: set[str] = set()
        for number, (name, column) in enumerate(zip(header.names, columns, strict=True), 1):
            if reason := self._wrong_name(name, column, before):
                self._problems.append(ManifestProblem(str(self.path), 1, shown(name) or str(number), reason))
                if len(self._problems) >= _MAX_PROBLEMS:
                    raise _all_of(self._problems)
            before.add(column)
        if "kind" not in columns:
            self._problems.append(
                ManifestProblem(str(self.path), 1, "kind", f"this column is missing; {ACCEPTED_COLUMNS}")
            )
        if self._problems:
            raise _all_of(self._problems)
        return Layout(header.encoding, header.separator, columns)

    def _wrong_name(self, name: str, column: str, before: Container[str]) -> str:
        """Return why a name cannot stand in a header or an object after others, "" if it can."""
        if not column:
            return f"{'unknown' if name else 'this column has no name'}; {ACCEPTED_COLUMNS}"
        if column in before:
            return "this column is there twice" + (f", as {self._names[column]}" * (shown(name) != self._names[column]))
        return ""

    def _column(self, name: str) -> str:
        """Return the column that a name means, "" if none, and use the first such name in messages."""
        column = column_of(name)
        if column and column not in self._names:
            self._names[column] = shown(name)
        return column

    def _csv_records(self) -> Iterator[_Record]:
        lines, names = self._lines, self._layout.columns
        columns = len(names)
        rows = csv.reader(self._texts, delimiter=self._layout.separator, strict=True)
        for cells in rows:
            if names_in(cells):
                break
        # A column that the manifest lacks takes its value from an empty cell appended to each row.
        values_of = itemgetter(*(names.index(name) if name in names else columns for name in COLUMNS))
        while len(self._problems) < _MAX_PROBLEMS:
            line, start = lines.number + 1, lines.offset
            try:
                cells = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                self._problems.append(ManifestProblem(str(self.path), line, None, str(error)))
                continue
            if len(cells) != columns:
                if "".join(cells[columns:]).strip():
                    reason = f"the header has only {columns} columns"
                    self._problems.append(ManifestProblem(str(self.path), line, str(columns + 1), reason))
                    continue
                cells = [*cells[:columns], *[""] * (columns - len(cells))]
            # A cell of blanks looks empty in a spreadsheet, so a row of them counts as empty too.
            if "".join(cells).strip():
                cells.append("")
                yield line, start, lines.offset - start, values_of(cells)

    def _json_records(self) -> Iterator[_Record]:
        lines, start = self._lines, 0
        for text in self._texts:
            if text.strip():
                try:
                    cells = self._json_cells(lines.number, text)
                except ManifestError as error:
                    self._problems += error.problems
                    if len(self._problems) >= _MAX_PROBLEMS:
                        return
                else:
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
        cells: dict[str, str] = {}
        for name, value in fields.items():
            column = self._column(name)
            if reason := self._wrong_name(name, column, cells):
                raise ManifestError.at(self.path, reason, line=line, column=shown(name))
            # An amount may be any number, since its text is the shortest that means the same.
            allowed = str | int | float if column == "amount" else str | int
            if value is not None and (isinstance(value, bool) or not isinstance(value, allowed)):
                self._wrong(line, column, "the value must be a text")
            cells[column] = "" if value is None else str(value)
        return cells

    def _checked(self, record: _Record) -> ManifestRow:
        line, start, length, values = record
        text = "".join(values)
        # Printable text has no control characters, and this is the fastest check.
        if not text.isprintable():
            self._check_characters(line, values)
        if "E+" in text or "e+" in text:
            self._check_numbers(line, values)
        kind, file, invoice_id, staff_id, file_name, ref, tenant, code, number, date, amount, check_code = values
        kind, invoice_id, staff_id, tenant = kind.strip(), invoice_id.strip(), staff_id.strip(), tenant.strip()
        if file_name.isspace():
            file_name = ""
        if kind not in _NEEDS:
            kind = self._kind(line, kind)
        needs_file, needs_id = _NEEDS[kind]
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

    def _kind(self, line: int, name: str) -> str:
        kind = kind_of(name)
        if not kind:
            self._wrong(line, "kind", f"{redact(name)[:40]!r} is none of {ACCEPTED_KINDS}")
        return kind

    def _checked_fields(self, line: int, kind: str, fields: Sequence[str]) -> tuple[InvoiceFields | None, str]:
        try:
            sent, date = fields_for(kind, fields)
            return None if sent is None else restored(sent), date
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

    def _check_numbers(self, line: int, values: tuple[str, ...]) -> None:
        try:
            check_scientific(zip(COLUMNS, values, strict=True))
        except WrongFieldError as error:
            self._wrong(line, error.column, str(error))

    def _wrong(self, line: int, column: str, what: str) -> NoReturn:
        raise ManifestError.at(self.path, what, line=line, column=self._names.get(column, column))


def _all_of(problems: Sequence[ManifestProblem]) -> ManifestError:
    lines = [str(problem) for problem in problems]
    if len(problems) >= _MAX_PROBLEMS:
        lines.append(f"Only the first {_MAX_PROBLEMS} are listed.")
    error = ManifestError("\n".join(lines))
    error.problems = tuple(problems)
    return error


def signed_url(manifest: Path, columns: tuple[str, ...], start: int, length: int, unsigned: str) -> str:
    """Return the signed URL of a row that is stored without its signature.

    `columns` is that of its `Manifest`. Raises `ConfigError` if the manifest cannot be read or has another URL at that
    position.
    """
    try:
        with _regular(manifest, "manifest") as source:
            source.seek(start)
            url = Layout.from_stored(columns).file_in(source.read(length))
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
