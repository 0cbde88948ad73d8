"""One row of what a user adds, checked: its kind, and the values that the kind needs.

The checks are the same for manifests and for rows that a program gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import ACCEPTED_KINDS, COLUMNS, kind_of
from ekb_async.backlog.input.manifests.spreadsheets import check_scientific, restored
from ekb_async.backlog.input.manifests.tables import Record
from ekb_async.backlog.input.rows.fields import BY_FIELDS, FIELDS, InvoiceFields, WrongFieldError, fields_for
from ekb_async.backlog.input.rows.identity import file_identity, invoice_identity
from ekb_async.backlog.input.rows.kinds import KINDS, NEEDS
from ekb_async.backlog.input.rows.row import ManifestRow, has_control
from ekb_async.backlog.input.rows.staff import StaffKind, may_be_other_than_id, staff_reference, stored_staff
from ekb_async.errors import ConfigError, ManifestError
from ekb_async.models.files import has_host, is_url
from ekb_async.redaction.masking import redact
from ekb_async.redaction.signed_urls import without_signature

_FIELDS_AT = COLUMNS.index(FIELDS[0])
_NO_FIELDS = ("",) * len(FIELDS)
_STAFF: dict[str, StaffKind | None] = {
    "staff_id": None,
    "staff_email": "email",
    "staff_phone": "phone",
    "staff_code": "code",
}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class RowChecker:
    """Checks rows of one source, whose path errors name. `find` locates a local file, and may refuse it.

    `kind` and `staff_id` are for the rows without their own. Raises `ConfigError` if one of them is wrong.
    """

    def __init__(
        self, path: Path, found: Columns, find: Callable[[str], Path], *, kind: str = "", staff_id: str = ""
    ) -> None:
        self._path = path
        self._found = found
        self._find = find
        self.default_kind, self._default_staff_id = _checked_kind(kind), staff_reference(staff_id)

    def check(self, record: Record) -> ManifestRow:
        """Return the row. Raises `ManifestError` with its line and column if it is malformed."""
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
        kind = kind.strip() or self.default_kind
        if kind not in NEEDS:
            kind = self._kind(line, kind)
        needs_file, needs_id = NEEDS[kind]
        if bool(file.strip()) is not needs_file:
            self._wrong_need(line, kind, "file", needed=needs_file)
        if bool(invoice_id) is not needs_id:
            self._wrong_need(line, kind, "invoice_id", needed=needs_id)
        if email or phone or staff_code or "@" in text or (staff_id and may_be_other_than_id(staff_id)):
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
        if kept == file.strip() or not is_url(kept):
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
            return kept, file_identity(kind, file, self._find)
        except ConfigError as error:
            if (bare := file.strip()) != file:
                # A spreadsheet does not show blanks around a name, and a file may have them.
                return self._checked_file(line, kind, bare)
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
        raise ManifestError.at(self._path, what, line=line, column=self._found.shown(column))


def _checked_kind(name: str) -> str:
    """Return the kind for rows without one, "" if there is none. Raises `ConfigError`."""
    kind = name if name in NEEDS else kind_of(name)
    if name and not kind:
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}, not {redact(name)[:40]!r}")
    return kind
