"""The demo's texts on standard output: what it will do, a table of the invoices, and what it did."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ekb_async.backlog import Task
from ekb_async.backlog.results.names import Names
from ekb_async.cli.command_line.help_tables import end_lines_in_chinese
from ekb_async.cli.demo import files
from ekb_async.cli.language import texts
from ekb_async.models import InvoiceKind
from ekb_async.queue.stats import SessionStats

_KIND_WIDTH, _USABLE_WIDTH = 16, 18
_OWN_ACCOUNT = """\
export EKB_BASE_URL=https://app.ekuaibao.com
export EKB_APP_KEY=... EKB_APP_SECURITY=...
ekb doctor
ekb backlog add mine.sqlite invoices/ --staff-id ...
ekb backlog estimate mine.sqlite
ekb backlog run mine.sqlite
ekb backlog export mine.sqlite results.xlsx"""


def _console() -> Console:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Chinese characters shows question marks
    end_lines_in_chinese()
    return Console(highlight=False)


def introduce(directory: Path) -> None:
    """Print what the demo is about to do."""
    _console().print(
        texts(
            "The invoices in [bold]{folder}[/] go through OCR and verification, then their file URLs and lines are"
            " looked up. A sandbox on this machine answers with the vendor's rules, 1 request per second for each of"
            " the two paid calls. No account is needed and nothing is billed.",
            folder=escape(str(directory / files.INVOICES)),
        )
        + "\n"
    )


def show_invoices(tasks: Iterable[Task]) -> None:
    """Print the verified invoices, and the files that are not invoices, within 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(texts("File\nnumber"), no_wrap=True)
    table.add_column(texts("Kind"), overflow="fold", max_width=_KIND_WIDTH)
    table.add_column(texts("Date"), no_wrap=True)
    table.add_column(texts("Total"), justify="right", no_wrap=True)
    table.add_column(texts("Usable"), overflow="fold", min_width=_USABLE_WIDTH)
    names = Names(texts.lang)
    for task in tasks:
        if task.kind != "verify":
            continue
        if task.state != "done":
            table.add_row(Text(task.ref, "bold"), "", "", "", Text(names.cause(task.error_type or ""), "red"))
            continue
        for index, invoice in enumerate(task.result["invoices"]):
            table.add_row(*_cells(names, "" if index else task.ref, invoice))
    console = _console()
    console.print()
    console.print(table)
    console.print()


def _cells(names: Names, file: str, invoice: dict[str, Any]) -> tuple[Text | str, ...]:
    form = invoice["form"]
    return (
        Text.assemble((file, "bold"), "\n", (form["number"] or "", "cyan")),
        names.invoice(InvoiceKind(invoice["kind"])),
        (form["date"] or "")[:10],
        "" if form["total"] is None else f"{Decimal(form['total']):,.2f}",
        Text(names.yes_or_no(True), "green")
        if invoice["usable"]
        else Text(f"{names.yes_or_no(False)}\n{invoice['message']}", "yellow"),
    )


def conclude(
    directory: Path, tasks: list[Task], stats: SessionStats, paid: int, seconds: float, *, has_page: bool
) -> None:
    """Print what was done and would have been billed, where the results are, and how to go on with an account."""
    urls = sum(task.kind == "url" and task.state == "done" for task in tasks)
    lines = sum(len(task.result) for task in tasks if task.kind == "detail" and task.state == "done")
    console = _console()
    console.print(
        texts(
            "[bold]{rows} rows in {seconds:.0f} s[/], with {paid} calls that cost money with a real account. {copy}"
            " has the content of {original} and was not paid for again; {no_invoice} is no invoice. {urls} file URLs"
            " and {lines} invoice lines took {requests} requests.",
            rows=len(tasks),
            seconds=seconds,
            paid=paid,
            copy=files.COPY,
            original=files.ORIGINAL,
            no_invoice=files.NO_INVOICE,
            urls=urls,
            lines=lines,
            requests=stats.invoice_url.requests + stats.invoice_details.requests,
        )
        + "\n"
    )
    table, program, page = (escape(str(directory / name)) for name in (*reversed(files.RESULTS), files.REPORT))
    if has_page:
        console.print(texts("A page about the results: [bold]{page}[/]", page=page))
    else:
        advice = texts('For a page about the results, first run: pip install "ekb-async[report]"')
        console.print(advice, markup=False)
    console.print(texts("As a table: [bold]{table}[/], for programs: [bold]{program}[/]", table=table, program=program))
    console.print("\n" + texts("To go on with an account of your own, and a folder of invoices:") + "\n")
    console.print(indent(_OWN_ACCOUNT, "  "), markup=False, soft_wrap=True)
