"""Rows whose files say which invoices they show, imported as a reader of invoice files imports them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.rows.row import ManifestRow

PDF, PICTURE, OFD = 0, 1, 2
"""How well the vendor takes a file, as `ManifestRow.form`."""

_PRINTED = ("date", "net", "tax", "total", "seller", "buyer", "buyer_tax_id")


def read_row(
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
    identity = f"{kind}:sha256:{hashlib.sha256(data).hexdigest()}"
    says = {"invoices": list(invoices), **dict.fromkeys(_PRINTED, ""), **(printed or {})}
    scope = "ocr" if kind == "ocr" else "verify"
    keys = [f"{scope}:{each}" for each in invoices] if is_certain else []
    return ManifestRow(
        line=1,
        start=0,
        length=0,
        kind=kind,
        identity=identity,
        ref=ref or name,
        file=name,
        invoice_id="",
        staff_id="corp:staff",
        tenant=tenant,
        content=identity,
        form=form,
        own=_json(own) if own else "",
        printed=_json(says),
        keys=_json(keys) if keys else "",
    )


async def add_rows(backlog: Backlog, directory: Path, *rows: ManifestRow, source: str = "folder") -> AddReport:
    """Add rows whose files lie in a directory."""
    async with backlog._import():
        await backlog._store.import_rows(iter(rows))
        own = dict.fromkeys(name for row in rows if row.own for name in msgspec.json.decode(row.own))
        return await backlog._store.commit_import(directory / source, (), tuple(own))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
