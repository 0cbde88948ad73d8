"""Manifests: lists of wanted calls, as CSV, JSON Lines or a workbook (.xlsx).

A manifest is read as a stream and checked row by row. The error for malformed rows has the line and column of each.

A signed URL is a short-lived secret, so the backlog stores it without its signature, together with the byte offset of
its row. The full URL is read from the manifest again just before its call is made.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import msgspec

from ekb_async.backlog.input.fields import BY_FIELDS, BY_ID, FIELDS, InvoiceFields, WrongFieldError, fields_for
from ekb_async.backlog.input.identity import file_identity, invoice_identity
from ekb_async.backlog.input.manifests import headings
from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import ACCEPTED_COLUMNS, ACCEPTED_KINDS, kind_of
from ekb_async.backlog.input.manifests.layout import WORKBOOK, Layout
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.manifests.spreadsheets import check_scientific, restored
from ekb_async.backlog.input.manifests.tables import Record
from ekb_async.backlog.input.manifests.text_rows import CsvRows, JsonRows
from ekb_async.backlog.input.roots import Roots
from ekb_async.backlog.input.staff import STAFF_PREFIXES, StaffKind, staff_reference, stored_staff
from ekb_async.backlog.input.workbooks.sheet_rows import SheetRows, file_in
from ekb_async.errors import ConfigError, ManifestError
from ekb_async.files.local_files import open_regular
from ekb_async.models.files import has_host, is_url
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import is_stored_form_of, without_signature

COLUMNS = headings.COLUMNS
OF_FILES = ("ocr", "verify")
CHECKS = (BY_ID, BY_FIELDS)
"""The kinds that check an invoice at the tax authority without its file."""
PAID = (*OF_FILES, *CHECKS)
LOOKUPS = ("url", "detail")
KINDS = (*PAID, *LOOKUPS, "download")
_NEEDS = {kind: (kind in OF_FILES, kind in {*LOOKUPS, "download", BY_ID}) for kind in KINDS}
"""Whether a kind needs a file, and whether it needs an invoice ID."""
_FIELDS_AT = COLUMNS.index(FIELDS[0])
_NO_FIELDS = ("",) * len(FIELDS)
_STAFF: dict[str, StaffKind | None] = {
    "staff_id": None,
    "staff_email": "email",
    "staff_phone": "phone",
    "staff_code": "code",
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class ManifestRow(NamedTuple):
    """One checked row. `file` is as written, except that a URL has lost its signature.

    `start` and `length` locate the row in the manifest if a signature was removed; otherwise both are 0. They are in
    bytes, except that `start` is the number of the row in a workbook.

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


_Rows = CsvRows | JsonRows | SheetRows
_READERS: dict[str, type[_Rows]] = {".csv": CsvRows, ".jsonl": JsonRows, ".ndjson": JsonRows, ".xlsx": SheetRows}
_OTHER_WORKBOOKS = {".xls", ".et", ".xlsm", ".xlsb", ".ods", ".numbers"}
MANIFEST_SUFFIXES = tuple(_READERS)


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

    Its local files must lie under its folder or under one of `roots`. `kind` and `staff_id` are for the rows without
    their own. Raises `ManifestError` if the manifest is missing, has another suffix, a wrong header or an encoding that
    is not certain, `ConfigError` if a root is not a folder, or `kind` or `staff_id` is wrong.
    """

    def __init__(
        self, path: Path, roots: Iterable[str | os.PathLike[str]] = (), *, kind: str = "", staff_id: str = ""
    ) -> None:
        self.path = kept_path(path, "a manifest")
        self._roots = Roots(self.path.parent, roots)
        self._default_kind, self._default_staff_id = _checked_kind(kind), staff_reference(staff_id)
        self._problems = Problems(self.path)
        self._found = Columns()
        reader = _reader_of(path)
        self._source = open_list(path, "manifest")
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
        checked, problems = self._checked, self._problems
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
        if columns and not self._default_kind and "kind" not in columns and not self._problems.is_full:
            reason = f"this column is missing; {ACCEPTED_COLUMNS}{self._found.unknown}"
            self._problems.add(reason, line=rows.header_line, column="kind")
        self._problems.check()

    def _checked(self, record: Record) -> ManifestRow:
        line, start, length, values, own = record
        text = "".join(values)
        # Printable text has no control characters, and this is the fastest check.
        if not text.isprintable():
            self._check_characters(line, values)
        if "E+" in text or "e+" in text:
            self._check_numbers(line, values)
        kind, file, invoice_id, staff_id, email, phone, staff_code, file_name, ref, tenant = values[:_FIELDS_AT]
        invoice_id, staff_id, tenant = invoice_id.strip(), staff_id.strip(), tenant.strip()
        if file_name.isspace():
            file_name = ""
        kind = kind.strip() or self._default_kind
        if kind not in _NEEDS:
            kind = self._kind(line, kind)
        needs_file, needs_id = _NEEDS[kind]
        if bool(file.strip()) is not needs_file:
            self._wrong_need(line, kind, "file", needed=needs_file)
        if bool(invoice_id) is not needs_id:
            self._wrong_need(line, kind, "invoice_id", needed=needs_id)
        if email or phone or staff_code or "@" in text or staff_id.startswith(STAFF_PREFIXES):
            staff_id = self._staff(line, values)
        staff_id = staff_id or self._default_staff_id
        if kind == "verify" and not staff_id:
            self._lacks(line, "staff_id", "verify needs the ID of the person who verifies")
        identity, date = invoice_identity(kind, invoice_id), ""
        # Few rows have these values, so they are not looked at one by one.
        if values[_FIELDS_AT:] != _NO_FIELDS or kind == BY_FIELDS:
            sent, date = self._checked_fields(line, kind, values[_FIELDS_AT:])
            identity = identity if sent is None else sent.identity
        if not needs_file:
            return ManifestRow(
                line, 0, 0, kind, identity, ref, "", invoice_id, staff_id, file_name, tenant, date, "", 0, own
            )
        kept, identity = self._checked_file(line, kind, file)
        if kept == file:
            start = length = 0
        return ManifestRow(
            line, start, length, kind, identity, ref, kept, invoice_id, staff_id, file_name, tenant, date, "", 0, own
        )

    def _wrong_need(self, line: int, kind: str, column: str, *, needed: bool) -> NoReturn:
        """Raise `ManifestError` for a value that is missing, or that the kind does not take."""
        if needed:
            self._lacks(line, column, f"{kind} needs a value here")
        self._wrong(line, column, f"{kind} takes no value here")

    def _staff(self, line: int, values: Sequence[str]) -> str:
        """Return the person of a row as the backlog stores it, "" if it names none."""
        given = {
            column: value
            for column, value in zip(COLUMNS, values, strict=True)
            if column in _STAFF and value and not value.isspace()
        }
        if len(given) > 1:
            names = " and ".join(map(self._found.shown, given))
            self._wrong(line, list(given)[-1], f"a row names its person once, not by {names}")
        for column, value in given.items():
            kind = _STAFF[column]
            try:
                return staff_reference(value) if kind is None else stored_staff(kind, value)
            except ConfigError as error:
                self._wrong(line, column, str(error))
        return ""

    def _kind(self, line: int, name: str) -> str:
        kind = kind_of(name)
        if not kind:
            reason = f"{redact(name)[:40]!r} is none of {ACCEPTED_KINDS}"
            self._wrong(line, "kind", reason) if name else self._lacks(line, "kind", reason)
        return kind

    def _checked_fields(self, line: int, kind: str, fields: Sequence[str]) -> tuple[InvoiceFields | None, str]:
        try:
            sent, date = fields_for(kind, fields)
            return None if sent is None else restored(sent), date
        except WrongFieldError as error:
            if fields[FIELDS.index(error.column)].strip():
                self._wrong(line, error.column, str(error))
            self._lacks(line, error.column, str(error))

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

    def _lacks(self, line: int, column: str, what: str) -> NoReturn:
        """Raise `ManifestError` for a value that is missing, perhaps because its heading is misspelt."""
        self._wrong(line, column, what + self._found.unknown)

    def _wrong(self, line: int, column: str, what: str) -> NoReturn:
        raise ManifestError.at(self.path, what, line=line, column=self._found.shown(column))


def _reader_of(path: Path) -> type[_Rows]:
    suffix = path.suffix.lower()
    if suffix in _OTHER_WORKBOOKS:
        raise ManifestError.at(path, "this kind of workbook cannot be read: save it as .xlsx")
    if suffix not in _READERS:
        raise ManifestError.at(path, "a manifest ends in .csv, .jsonl, .ndjson or .xlsx")
    return _READERS[suffix]


def _checked_kind(name: str) -> str:
    """Return the kind for rows without one, "" if there is none. Raises `ConfigError`."""
    kind = name if name in _NEEDS else kind_of(name)
    if name and not kind:
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}, not {redact(name)[:40]!r}")
    return kind


def signed_url(manifest: Path, columns: tuple[str, ...], start: int, length: int, unsigned: str) -> str:
    """Return the signed URL of a row that is stored without its signature.

    `columns` is that of its `Manifest`, `start` and `length` are those of its row. Raises `ConfigError` if the manifest
    cannot be read or has another URL at that position.
    """
    try:
        with _regular(manifest, "manifest") as source:
            layout = Layout.from_stored(columns)
            if layout.encoding == WORKBOOK:
                url = file_in(source, manifest, layout, start)
            else:
                source.seek(start)
                url = layout.file_in(source.read(length))
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
