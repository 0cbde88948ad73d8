"""Rows as they are after their files were read, added to a backlog without reading any."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.rows.fields import InvoiceFields
from ekb_async.backlog.input.rows.row import ManifestRow

PDF, PICTURE, OFD = 0, 1, 2
"""How well the vendor takes a file, as `ManifestRow.form`."""
FOLDER = Path("/invoices")

_PRINTED = ("date", "net", "tax", "total", "seller", "buyer", "buyer_tax_id")


def read_row(
    name: str,
    *invoices: str,
    kind: str = "verify",
    form: int = PDF,
    ref: str = "",
    tenant: str = "",
    content: str = "",
    **printed: str,
) -> ManifestRow:
    """Return the row of a file, which is not there, that shows these invoices; one of form 2 is checked by its fields.

    Files with the same `content`, by default their name, are copies of one another.
    """
    row = _row(name, (content or name).encode(), invoices, kind, form, printed)
    row = row._replace(ref=ref, tenant=tenant, keys=_keys(kind, invoices))
    if form < OFD:
        return row
    fields = InvoiceFields("", invoices[0], "20250309", printed.get("total", "1.00"))
    return row._replace(kind="verify_by_fields", identity=fields.identity, date=fields.date)


def written_row(
    directory: Path,
    name: str,
    *invoices: str,
    kind: str = "verify",
    form: int = PDF,
    content: bytes | None = None,
    ref: str = "",
    own: dict[str, str] | None = None,
    tenant: str = "",
    is_certain: bool = True,
    printed: dict[str, str] | None = None,
) -> ManifestRow:
    """Write a file and return its row; the file shows `invoices` and says what `printed` has.

    Files of the same `content` are the same file; without it the name is the content. If the file is not certain, it
    shares a call with no other file.
    """
    data = b"%PDF-1.4\n" + (name.encode() if content is None else content)
    (directory / name).write_bytes(data)
    row = _row(name, data, invoices, kind, form, printed or {})
    return row._replace(
        ref=ref or name,
        tenant=tenant,
        own=_json(own) if own else "",
        keys=_keys("ocr" if kind == "ocr" else "verify", invoices) if is_certain else "",
    )


def _row(
    name: str, data: bytes, invoices: Sequence[str], kind: str, form: int, printed: Mapping[str, str]
) -> ManifestRow:
    identity = f"{kind}:sha256:{hashlib.sha256(data).hexdigest()}"
    says = {"invoices": list(invoices), **dict.fromkeys(_PRINTED, ""), **printed}
    return ManifestRow(
        line=1,
        kind=kind,
        identity=identity,
        content=identity,
        file=name,
        staff_id="corp:staff",
        form=form,
        printed=_json(says),
    )


def _keys(scope: str, invoices: Sequence[str]) -> str:
    return _json([f"{scope}:{each}" for each in invoices]) if invoices else ""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


async def add_read(backlog: Backlog, rows: Sequence[ManifestRow]) -> AddReport:
    """Add rows of files that are not there, all or none."""
    return await add_rows(backlog, FOLDER, *rows, source="*")


async def add_rows(backlog: Backlog, directory: Path, *rows: ManifestRow, source: str = "folder") -> AddReport:
    """Add rows whose files lie in a directory, all or none."""
    async with backlog._import():
        await backlog._store.import_rows(iter(rows))
        own = dict.fromkeys(name for row in rows if row.own for name in msgspec.json.decode(row.own))
        return await backlog._store.commit_import(directory / source, (), tuple(own))


async def groups(backlog: Backlog, tenant: str = "") -> dict[str, list[str]]:
    """Return the files of the rows that share each call, by the file from which the call is made."""
    tasks = [task async for task in backlog.results() if task.tenant == tenant]
    files = {task.id: task.file for task in tasks}
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(files[task.shared_with or task.id], []).append(task.file)
    return found
