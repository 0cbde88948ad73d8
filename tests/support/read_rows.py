"""Rows as they are after their files were read, added to a backlog without files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ekb_async.backlog import AddReport, Backlog
from ekb_async.backlog.input.rows.fields import InvoiceFields
from ekb_async.backlog.input.rows.row import ManifestRow

MANIFEST = Path("/invoices/*")


def read_row(
    name: str,
    *keys: str,
    kind: str = "verify",
    form: int = 0,
    ref: str = "",
    tenant: str = "",
    content: str = "",
    **printed: str,
) -> ManifestRow:
    """Return the row of a file that names these invoices; one of form 2 is checked by its fields.

    Files with the same `content`, by default their name, are copies of one another.
    """
    sha256 = hashlib.sha256((content or name).encode()).hexdigest()
    row = ManifestRow(
        line=1,
        kind=kind,
        identity=f"{kind}:sha256:{sha256}",
        content=f"{kind}:sha256:{sha256}",
        ref=ref,
        file=name,
        staff_id="s1",
        tenant=tenant,
        form=form,
        printed=msgspec.json.encode(
            {"invoices": keys, "date": "", "net": "", "tax": "", "total": "", "seller": "", "buyer": "", **printed}
        ).decode(),
        keys=msgspec.json.encode([f"{kind}:{key}" for key in keys]).decode() if keys else "",
    )
    if form < 2:
        return row
    fields = InvoiceFields("", keys[0], "20250309", printed.get("total", "1.00"))
    return row._replace(kind="verify_by_fields", identity=fields.identity, date=fields.date)


async def add_read(backlog: Backlog, rows: Sequence[ManifestRow]) -> AddReport:
    """Add rows to a backlog, all or none."""
    async with backlog._import():
        await backlog._store.import_rows(rows)
        return await backlog._store.commit_import(MANIFEST, (), ())


async def groups(backlog: Backlog, tenant: str = "") -> dict[str, list[str]]:
    """Return the files of the rows that share each call, by the file from which the call is made."""
    tasks = [task async for task in backlog.results() if task.tenant == tenant]
    files = {task.id: task.file for task in tasks}
    found: dict[str, list[str]] = {}
    for task in tasks:
        found.setdefault(files[task.shared_with or task.id], []).append(task.file)
    return found
