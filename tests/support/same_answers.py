"""Files in which the vendor finds given invoices, and which rows were answered with the same ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ekb_async.backlog import Backlog
from ekb_async.sandbox.vendor.invoices import SampleInvoice
from tests.support.backlogs import all_tasks


def files_showing(directory: Path, **files: tuple[SampleInvoice, ...]) -> dict[str, tuple[SampleInvoice, ...]]:
    """Write a file for each name and return what the vendor finds in it, by the file's hash."""
    shown = {}
    for name, invoices in files.items():
        data = b"%PDF-1.4\n" + name.encode()
        (directory / f"{name}.pdf").write_bytes(data)
        shown[hashlib.sha256(data).hexdigest()] = invoices
    return shown


async def marks(backlog: Backlog) -> dict[str, str | None]:
    """Return for each reference that of the row that `same_as` names."""
    tasks = await all_tasks(backlog)
    refs = {task.id: task.ref for task in tasks}
    return {task.ref: refs.get(task.same_as) if task.same_as else None for task in tasks}
