"""Reads the files of rows before they are added, so that files which show the same invoice can share a call.

Nothing is sent. A row gets what its file says of itself (`printed`), and a key for each name of its invoices if all of
them are certain (`keys`). An XML or OFD file, which OCR does not take, becomes a check of the fields that it states.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import msgspec

from ekb_async.aio.tasks import await_uncancelled, in_thread
from ekb_async.backlog.input.limits import LIMITS
from ekb_async.backlog.input.rows.fields import BY_FIELDS, WrongFieldError, checked_fields
from ekb_async.backlog.input.rows.identity import FORMS, UNSENDABLE, Known, content_of
from ekb_async.backlog.input.rows.kinds import OF_FILES
from ekb_async.backlog.input.rows.row import ManifestRow
from ekb_async.einvoice import check_fields
from ekb_async.errors import ConfigError
from ekb_async.files.local_files import file_sha256

if TYPE_CHECKING:
    from ekb_async.einvoice import EInvoice, ReaderPool, Reading

_NOT_SENT = {"ofd": "OFD", "xml": "XML"}


class ReadRow(NamedTuple):
    """The rows that a row has become, and why its file should be left out, "" if it should not."""

    rows: list[ManifestRow]
    problem: str = ""


Find = Callable[[str, Sequence[str]], Awaitable[Mapping[str, Known]]]
"""Returns the files that the backlog has of those with these contents, for a tenant."""


class RowReader:
    """Reads the files of rows in processes of its own, which end with the `async with` block."""

    _pool: ReaderPool

    def __init__(self, find: Find) -> None:
        self._find = find
        self._closing: asyncio.Future[None] | None = None
        # Copies of a file are added one after another more often than not.
        self._recent: OrderedDict[str, Reading] = OrderedDict()

    @property
    def missing(self) -> str:
        """Which library is missing, so that PDFs and pictures cannot be read; "" if none is."""
        return self._pool.missing

    async def __aenter__(self) -> Self:
        self._pool = await in_thread(_new_pool)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()
        if self._closing is not None:
            await await_uncancelled(self._closing)

    def _close(self) -> None:
        """Begin to end the processes, and with them the reading that is under way."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().run_in_executor(None, self._pool.close)

    async def read(self, rows: Sequence[ManifestRow], locate: Callable[[ManifestRow], Path]) -> list[ReadRow]:
        """Return each row with what its file says. Files that the backlog has are not read again."""
        local = [row for row in rows if has_local_file(row)]
        known = await self._known(local)
        wanted = {content_of(row.identity): locate(row) for row in local if (row.tenant, row.identity) not in known}
        readings = await self._readings(wanted)
        return [
            _as_known(row, known[row.tenant, row.identity])
            if (row.tenant, row.identity) in known
            else _as_read(row, readings.get(content_of(row.identity)) if has_local_file(row) else None)
            for row in rows
        ]

    async def _known(self, rows: Iterable[ManifestRow]) -> dict[tuple[str, str], Known]:
        contents: dict[str, dict[str, None]] = {}
        for row in rows:
            contents.setdefault(row.tenant, {})[row.identity] = None
        return {
            (tenant, content): known
            for tenant, each in contents.items()
            for content, known in (await self._find(tenant, list(each))).items()
        }

    async def _readings(self, wanted: Mapping[str, Path]) -> dict[str, Reading]:
        """Return the readings of files by their SHA-256; a file that has changed since it was hashed is left out."""
        found = {sha256: self._recent[sha256] for sha256 in wanted if sha256 in self._recent}
        unread = [(sha256, path) for sha256, path in wanted.items() if sha256 not in found]
        if unread:
            work = asyncio.get_running_loop().run_in_executor(None, self._read_files, unread)
            readings: dict[str, Reading] = await await_uncancelled(work, on_cancel=self._close)
            found |= readings
        self._recent |= found
        while len(self._recent) > LIMITS.readings_kept:
            self._recent.popitem(last=False)
        return found

    def _read_files(self, files: Sequence[tuple[str, Path]]) -> dict[str, Reading]:
        readings = self._pool.read([path for _, path in files])
        return {
            sha256: reading
            for (sha256, path), reading in zip(files, readings, strict=True)
            if _is_unchanged(path, sha256)
        }


def _new_pool() -> ReaderPool:
    # Readers take long to load, and most uses of a backlog read no files.
    from ekb_async.einvoice import ReaderPool

    return ReaderPool()


def _is_unchanged(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except ConfigError:
        return False


def has_local_file(row: ManifestRow) -> bool:
    """Return whether a row has a file that can be read here."""
    return row.kind in OF_FILES and row.identity.startswith(f"{row.kind}:sha256:")


def _as_known(row: ManifestRow, known: Known) -> ReadRow:
    return ReadRow([row._replace(content=row.identity, form=known.form, printed=known.printed)])


def _as_read(row: ManifestRow, reading: Reading | None) -> ReadRow:
    if reading is None:
        return ReadRow([row])
    form = FORMS.get(reading.format, 0)
    if reading.problem:
        return ReadRow([row._replace(form=form)], reading.problem)
    named = row._replace(content=row.identity, form=form, printed=_printed(reading.invoices))
    if form < UNSENDABLE:
        return ReadRow([named._replace(keys=_keys(row.kind, reading.invoices) if reading.certain else "")])
    rows = [_as_check(named, row.kind, each) for each in reading.invoices] if reading.certain else []
    if not rows or not all(each.keys for each in rows):
        return ReadRow([named], f"{_NOT_SENT[reading.format]} that does not name its invoice with certainty")
    if len(rows) > 1:
        # Those without the fields of a check all have the file's own call, which is that of none of the invoices.
        rows = [each if each.kind == BY_FIELDS else each._replace(keys="") for each in rows]
    return ReadRow(rows)


def _as_check(row: ManifestRow, kind: str, invoice: EInvoice) -> ManifestRow:
    """Return the row as a check of the fields that its file states, or as it is if the file lacks one of them."""
    row = row._replace(keys=_keys(kind, [invoice]), printed=_printed([invoice]))
    values = check_fields(invoice)
    if values is None:
        return row
    try:
        fields = checked_fields(values)
    except WrongFieldError:
        return row
    return row._replace(kind=BY_FIELDS, identity=fields.identity, date=fields.date)


def _keys(kind: str, invoices: Sequence[EInvoice]) -> str:
    """Return the keys of a file that shows these invoices, as JSON; a single one may have several names."""
    identities = sorted({each.identity for each in invoices if each.identity})
    names = ["+".join(identities)]
    if len(identities) == 1:
        names += [alias for each in invoices for alias in each.aliases]
    return msgspec.json.encode([f"{kind}:{name}" for name in dict.fromkeys(names)]).decode()


def _printed(invoices: Sequence[EInvoice]) -> str:
    """Return what a file says of its invoices, as JSON."""
    if not invoices:
        return "{}"
    ordered = sorted(invoices, key=lambda each: each.identity or "~")
    return msgspec.json.encode(
        {
            "invoices": [each.identity or "" for each in ordered],
            "date": _all(None if each.date is None else each.date.isoformat() for each in ordered),
            "net": _all(map(_amount, (each.amount_excluding_tax for each in ordered))),
            "tax": _all(map(_amount, (each.tax for each in ordered))),
            "total": _all(map(_amount, (each.total for each in ordered))),
            "seller": _each(each.seller for each in ordered),
            "buyer": _each(each.buyer for each in ordered),
            "buyer_tax_id": _each(each.buyer_tax_id for each in ordered),
        }
    ).decode()


def _all(values: Iterable[str | None]) -> str:
    """Return the values of all invoices in their order; "" if one of them is unknown."""
    texts = list(values)
    return "+".join(text for text in texts if text) if all(texts) else ""


def _each(values: Iterable[str | None]) -> str:
    """Return the different values that are known."""
    return "; ".join(dict.fromkeys(value.replace("\0", "") for value in values if value))


def _amount(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"
