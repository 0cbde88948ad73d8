"""The demo's texts on standard output: what it will do, a table of the invoices, and what it did."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ekb_async.backlog import Task
from ekb_async.cli.demo import files
from ekb_async.models import InvoiceKind
from ekb_async.queue.stats import SessionStats

_OWN_ACCOUNT = """\
  export EKB_BASE_URL=https://app.ekuaibao.com
  export EKB_APP_KEY=... EKB_APP_SECURITY=...
  ekb backlog add mine.sqlite mine.csv         # see {manifest}
  ekb backlog run mine.sqlite
  ekb backlog export mine.sqlite results.csv"""


def _console() -> Console:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Chinese characters shows question marks
    return Console(highlight=False)


def introduce(directory: Path) -> None:
    """Print what the demo is about to do."""
    _console().print(
        f"The invoices in [bold]{escape(str(directory / files.INVOICES))}[/] go through OCR and verification, "
        "then their file URLs and lines are looked up. A sandbox on this machine answers with the vendor's rules, "
        "1 request per second for each of the two paid calls. No account is needed and nothing is billed.\n"
    )


def show_invoices(tasks: Iterable[Task]) -> None:
    """Print the verified invoices, and the files that are not invoices, within 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("File\nkind", no_wrap=True)
    table.add_column("Invoice\nnumber", no_wrap=True)
    table.add_column("Date", no_wrap=True)
    table.add_column("Total", justify="right", no_wrap=True)
    table.add_column("Usable", overflow="fold")
    for task in tasks:
        if task.kind != "verify":
            continue
        if task.state != "done":
            table.add_row(task.ref, Text(task.error_type or "", "red"), "", "", Text("failed", "red"))
            continue
        for index, invoice in enumerate(task.result["invoices"]):
            table.add_row(*_cells("" if index else task.ref, invoice))
    console = _console()
    console.print()
    console.print(table)
    console.print()


def _cells(file: str, invoice: dict[str, Any]) -> tuple[Text | str, ...]:
    form, kind = invoice["form"], InvoiceKind(invoice["kind"])
    english = kind.value.replace("_", " ").replace("vat", "VAT")
    return (
        Text.assemble((file, "bold"), "\n", (english, "dim")),
        Text.assemble(kind.label, "\n", (form["number"] or "", "cyan")),
        (form["date"] or "")[:10],
        "" if form["total"] is None else f"{Decimal(form['total']):,.2f}",
        Text("yes", "green") if invoice["usable"] else Text(f"no\n{invoice['message']}", "yellow"),
    )


def conclude(directory: Path, tasks: list[Task], stats: SessionStats, seconds: float) -> None:
    """Print what was done and would have been billed, where the results are, and how to go on with an account."""
    paid = stats.ocr.succeeded + stats.verify.succeeded
    urls = sum(task.kind == "url" and task.state == "done" for task in tasks)
    lines = sum(len(task.result) for task in tasks if task.kind == "detail" and task.state == "done")
    lookups = stats.invoice_url.requests + stats.invoice_details.requests
    names = " and ".join(escape(str(directory / name)) for name in files.RESULTS)
    console = _console()
    console.print(
        f"[bold]{len(tasks)} tasks in {seconds:.0f} s[/], {paid} of them calls that cost money with a real account. "
        f"{files.COPY} has the content of {files.ORIGINAL} and was not paid for again; "
        f"{files.NO_INVOICE} is no invoice. {urls} file URLs and {lines} invoice lines took {lookups} requests.\n"
    )
    report = escape(str(directory / files.REPORT))
    console.print(f"Results: [bold]{names}[/], and a page about them: [bold]{report}[/]\n")
    console.print("To go on with an account of your own, and a manifest like the demo's:\n")
    console.print(_OWN_ACCOUNT.format(manifest=directory / files.MANIFEST), markup=False, soft_wrap=True)
