"""Rows that a program gives to a backlog as objects, checked as those of a manifest are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date as Date  # noqa: N812 - a field is named date
from decimal import Decimal
from pathlib import Path

import msgspec

from ekb_async.backlog.input.checking import RowChecker
from ekb_async.backlog.input.manifest import kept_path
from ekb_async.backlog.input.manifests.columns import Columns
from ekb_async.backlog.input.manifests.headings import COLUMNS, column_of
from ekb_async.backlog.input.manifests.own import own_values
from ekb_async.backlog.input.manifests.problems import Problems
from ekb_async.backlog.input.manifests.tables import Record
from ekb_async.backlog.input.rows.fields import WrongFieldError
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.errors import ConfigError, ManifestError
from ekb_async.models.files import is_url

_ROWS = Path("rows")
"""Stands for the manifest of these rows."""
_TEXTS = ("kind", "invoice_id", "staff_id", "file_name", "ref", "tenant", "code", "number", "check_code")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One wanted call, for `Backlog.add`. The fields are the columns of a manifest, see `docs/en/backlog/adding.md`.

    A relative `file` is relative to the working directory. A URL must be unsigned, since its signature would have to be
    stored. `staff_id` is the ID of a person, an e-mail address, or `email:…`, `phone:…`, `code:…`. `own` has columns of
    your own, which are exported.
    """

    kind: str
    file: str | os.PathLike[str] = ""
    invoice_id: str = ""
    staff_id: str = ""
    file_name: str = ""
    ref: str = ""
    tenant: str = ""
    code: str = ""
    number: str = ""
    date: str | Date = ""
    amount: str | int | Decimal = ""
    check_code: str = ""
    own: Mapping[str, str] = {}


class GivenRows:
    """Rows given as objects. Errors name them by number, from 1."""

    columns: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.path = kept_path(_ROWS, "the working directory")
        self._problems = Problems(_ROWS)
        self._found = Columns()
        self._checker = RowChecker(_ROWS, self._found, _real_path)
        self._count = 0

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns of the rows' own, in the order in which they were found."""
        return tuple(self._found.own)

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def locate(self, row: ManifestRow) -> Path:
        """Return the path of the local file of a row."""
        return Path(row.file)

    def checked(self, rows: Iterable[Row]) -> Iterator[ManifestRow]:
        """Yield the next rows, and hash their local files. `finish` raises what is wrong with them."""
        for row in rows:
            self._count += 1
            try:
                yield self._checked(row)
            except ManifestError as error:
                self._problems.add_all(error)
                if self._problems.is_full:
                    self.finish()

    def finish(self) -> None:
        """Raise `ManifestError` with all malformed rows, the first fifty at most, if there are any."""
        self._problems.check()

    def _checked(self, row: Row) -> ManifestRow:
        if not isinstance(row, Row):
            raise self._wrong(None, f"this is no Row, but {type(row).__name__}")
        try:
            record = self._record(row)
        except WrongFieldError as error:
            raise self._wrong(error.column, str(error)) from None
        checked = self._checker.check(record)
        if checked.length:
            raise self._wrong("file", "a signed URL is not stored: add it from a manifest, where it is read again")
        return checked

    def _record(self, row: Row) -> Record:
        values = {name: _text(name, getattr(row, name)) for name in _TEXTS}
        values["file"] = _file(row.file)
        values["date"] = row.date.isoformat() if isinstance(row.date, Date) else _text("date", row.date)
        values["amount"] = _amount(row.amount)
        # A signature that the row has is noticed by its length.
        return self._count, 0, 1, tuple(values.get(name, "") for name in COLUMNS), self._own(row.own)

    def _own(self, own: Mapping[str, str]) -> str:
        if not isinstance(own, Mapping):
            raise WrongFieldError("own", "this must be a mapping of names to texts")
        kept: dict[str, str] = {}
        for name, value in own.items():
            if not _text("own", name).strip():
                raise WrongFieldError("own", "the name of a column must not be empty")
            _text(name, value)
            if column_of(name):
                raise WrongFieldError(name, "this is no column of your own")
            kept[self._found.place(name, kept)[1]] = value
        return own_values(kept.items())

    def _wrong(self, column: str | None, what: str) -> ManifestError:
        return ManifestError.at(_ROWS, what, line=self._count, column=column)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise WrongFieldError(name, "the value must be a text")
    if not value.isascii() and value.encode(errors="replace") != value.encode(errors="surrogatepass"):
        raise WrongFieldError("own" if name == value else name, "the value must be UTF-8, as the backlog keeps it")
    return value


def _file(value: object) -> str:
    """Return a file as the backlog stores it: a URL, an attachment, or an absolute path; "" for none."""
    if not isinstance(value, str | os.PathLike):
        raise WrongFieldError("file", "this must be a path, a URL or an attachment")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise WrongFieldError("file", "this must be a path of texts, not of bytes")
    if not text.isascii() and text.encode(errors="replace") != text.encode(errors="surrogateescape"):
        raise WrongFieldError("file", "the path must be UTF-8, as the backlog keeps it")
    if not text.strip() or is_url(text) or text.startswith("attachment:") or "://" in text:
        return text
    return str(Path(text).absolute())


def _amount(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise WrongFieldError("amount", "this must be a text, an int or a Decimal")
    try:
        return _text("amount", str(value))
    except ValueError as error:
        # An int of thousands of digits.
        if isinstance(error, WrongFieldError):
            raise
        raise WrongFieldError("amount", "the number has too many digits") from None


def _real_path(file: str) -> Path:
    try:
        return Path(os.path.realpath(file))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the path cannot be resolved: {error}") from None
