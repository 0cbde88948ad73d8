"""The demo's directory: invoices to process, the manifest of what to do with them, and their content.

The invoices are drawn samples of the usual kinds. A copy of one is added, which is not paid for again, and a file that
is not an invoice, which fails. A note marks the directory as the demo's own; other files are never replaced.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import shutil
from collections.abc import Iterable
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from ekb_async.cli.language import texts
from ekb_async.errors import ConfigError
from ekb_async.sandbox import SampleInvoice

STAFF_ID = "demo:staff"
INVOICES = "invoices"
BACKLOG, MANIFEST, LOOKUPS, REPORT = "backlog.sqlite", "manifest.csv", "lookups.csv", "report.html"
RESULTS = ("results.jsonl", "results.csv")
ORIGINAL, COPY, NO_INVOICE = "train.png", "train-again.png", "holiday.png"

_NOTE = "README.txt"
_MARKS = ("Made by `ekb demo`", "由 `ekb demo` 生成")
"""How a note of this version, or of an earlier one, begins in either language."""
_STATE = (BACKLOG, f"{BACKLOG}-wal", f"{BACKLOG}-shm", f"{BACKLOG}-run")


def _sample(kind: str, number: str, day: int, total: str, tax: str = "0", **more: Any) -> SampleInvoice:
    """Return an invoice of that day of March 2025."""
    return SampleInvoice(
        kind=kind, number=number, date=datetime.date(2025, 3, day), total=Decimal(total), tax=Decimal(tax), **more
    )


_LINKED = "该发票在单据[B25000318]中已经关联"
_SAMPLES: dict[str, list[SampleInvoice]] = {
    "conference.pdf": [
        _sample("digital_normal", "25332000000041907731", 14, "1272.00", "72.00", seller="杭州钱塘会议中心有限公司")
    ],
    "hotel.pdf": [_sample("vat_electronic", "40218836", 12, "1000.00", "56.60", code="033002500111")],
    "parking.png": [
        _sample("fixed_amount", "00462817", 1, "50.00", code="133002512034", usable=False, linked=True, message=_LINKED)
    ],
    "taxi-and-toll.png": [
        _sample("taxi", "58204471", 13, "48.00", code="133002500204"),
        _sample("toll", "07719352", 14, "35.00", "2.89", code="133002500118"),
    ],
    "train.png": [_sample("train", "K083651", 11, "117.50", "9.70")],
}


def recognised() -> dict[str, list[SampleInvoice]]:
    """Return the invoices on the packaged files, by the SHA-256 of the file."""
    return {hashlib.sha256(_shipped(name)).hexdigest(): invoices for name, invoices in _SAMPLES.items()}


def make_directory(directory: Path) -> None:
    """Write the invoices and their manifest. Raises `ConfigError` if the directory holds something else."""
    note = directory / _NOTE
    if directory.is_dir() and any(directory.iterdir()):
        if not note.is_file() or not note.read_text(encoding="utf-8", errors="replace").startswith(_MARKS):
            raise ConfigError(
                f"{directory} is not empty and not from an earlier demo: give another one with --directory"
            )
        for name in (*_STATE, LOOKUPS, REPORT, *RESULTS):
            (directory / name).unlink(missing_ok=True)
    elif directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is not a directory: give another one with --directory")
    invoices = directory / INVOICES
    invoices.mkdir(parents=True, exist_ok=True)
    note.write_text(_note(), encoding="utf-8")
    for name in _SAMPLES:
        (invoices / name).write_bytes(_shipped(name))
    shutil.copyfile(invoices / ORIGINAL, invoices / COPY)
    (invoices / NO_INVOICE).write_bytes(b"This is neither an image nor a PDF.\n")
    files = (*_SAMPLES, COPY, NO_INVOICE)
    _write_manifest(
        directory / MANIFEST,
        ("kind", "file", "staff_id", "ref"),
        [(kind, f"{INVOICES}/{name}", STAFF_ID, name) for kind in ("ocr", "verify") for name in files],
    )


def _note() -> str:
    return texts("""\
Made by `ekb demo`. Running it again replaces what it made here; other files are left alone.

invoices/       drawn sample invoices, one of them twice, and one file that is no invoice
manifest.csv    what to do with them; lookups.csv was written from the first results
backlog.sqlite  the backlog: every row with its state and answer
results.*       the results, as JSON Lines and as a table
report.html     a page about them
""")


def write_lookups(directory: Path, invoice_ids: Iterable[str]) -> None:
    """Write the manifest of what to look up about verified invoices."""
    _write_manifest(
        directory / LOOKUPS,
        ("kind", "invoice_id"),
        [(kind, invoice_id) for invoice_id in invoice_ids for kind in ("url", "detail")],
    )


def _write_manifest(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _shipped(name: str) -> bytes:
    return resources.files("ekb_async.cli.demo").joinpath("invoices", name).read_bytes()
