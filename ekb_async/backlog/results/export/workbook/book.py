"""The workbook: its sheets, and what each of them takes from a task."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError

from ekb_async.backlog.results.export.about import About
from ekb_async.backlog.results.export.columns import Columns
from ekb_async.backlog.results.export.lines import FINE, InvoiceLines, line_columns
from ekb_async.backlog.results.export.workbook.attention import Attention
from ekb_async.backlog.results.export.workbook.duplicates import Duplicates
from ekb_async.backlog.results.export.workbook.invoices import PRINTED, InvoiceRows, invoice_columns
from ekb_async.backlog.results.export.workbook.links import Links
from ekb_async.backlog.results.export.workbook.look import Look
from ekb_async.backlog.results.export.workbook.sheet import Sheet
from ekb_async.backlog.results.export.workbook.summary import Summary
from ekb_async.backlog.results.export.workbook.table import Mark, Plan, Table
from ekb_async.backlog.results.export.workbook.totals import Totals
from ekb_async.backlog.results.found import invoices_in
from ekb_async.backlog.results.names import Names
from ekb_async.backlog.results.tasks import Task

SHEET_ROWS = 1_048_576
_LINES_PRINTED = 12


class XlsxWorkbook:
    """A workbook that tasks are written to. Its first sheet is the summary, which is written at the end."""

    def __init__(
        self,
        file: BinaryIO,
        lang: str,
        scratch: Path,
        columns: Columns,
        *,
        about: About | None = None,
        sheet_rows: int = SHEET_ROWS,
    ) -> None:
        self._names, self._about = Names(lang), about or About()
        # XlsxWriter gets an open file, not a name: a file that it opens itself stays open after a disk-full error.
        self._book = Workbook(file, {"constant_memory": True, "tmpdir": str(scratch), "use_zip64": True})
        look = Look(self._book, lang)
        arranged = invoice_columns(columns)
        self._rows = InvoiceRows(arranged, self._names)
        self._totals = Totals(self._rows.place, chosen_by_ref=self._about.ref is not None)
        self._links = Links(self._about.folder)
        self._line_columns = line_columns(tenants="tenant" in self._rows.place)
        self._lines = InvoiceLines(self._line_columns, self._names, named=True)
        self._attention = Attention(arranged, self._rows.place, self._names)
        self._duplicates = Duplicates(arranged, self._rows.place, self._names, scratch)

        texts = self._names.texts
        self._summary = Summary(cast(Sheet, self._book.add_worksheet(texts("Summary"), Sheet)), look, self._names)
        plans = self._invoice_plan(look, arranged), self._line_plan(), self._attention.plan(look)
        tables = [
            Table(self._book, look, plan, self._names, sheet_rows) for plan in (*plans, self._duplicates.plan(look))
        ]
        self._invoice_table, self._line_table, self._attention_table, self._equal_table = tables

    def write(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._write(task)
        self._duplicates.store()

    def finish(self) -> None:
        for equal in self._duplicates.equal():
            self._equal_table.write(equal.row, equal.target)
        for table in (self._invoice_table, self._line_table, self._attention_table, self._equal_table):
            table.end()
        self._summary.write(self._totals, self._about)
        try:
            self._book.close()
        except FileCreateError as error:
            raise OSError(*error.args[0].args) from None

    def close(self) -> None:
        self._duplicates.close()
        for sheet in self._book.worksheets():
            for open_file in filter(None, (sheet.fh, sheet.row_data_fh)):
                with suppress(OSError):
                    open_file.close()

    def _write(self, task: Task) -> None:
        self._totals.add_task(task)
        target = self._links.target(task)
        answered = invoices_in(task.kind, task.raw, task.source)
        for shown in self._rows.of(task, answered):
            self._totals.add_invoice(task, shown)
            self._invoice_table.write(shown.row, target)
            if (row := self._attention.row_of(task, shown)) is not None:
                self._attention_table.write(row, target)
            self._duplicates.add(task, shown, target)
        for line in self._lines.of(task, answered or ()):
            self._line_table.write(line)

    def _invoice_plan(self, look: Look, columns: Columns) -> Plan:
        texts, names = self._names.texts, self._names
        no = names.yes_or_no(False) if texts.is_chinese else False
        marks = [Mark("state", names.state("failed"), look.failed_row), Mark("usable", no, look.unusable_row)]
        label = texts("Sum of the visible rows, all currencies and repeated rows included")
        return Plan(texts("Invoices"), columns, PRINTED, marks, ("total", "tax"), label, wrapped=("why_not",))

    def _line_plan(self) -> Plan:
        label = self._names.texts("Sum of the visible lines, all currencies included")
        title = self._names.texts.word("sheet", "Lines")
        return Plan(title, self._line_columns, _LINES_PRINTED, summed=("amount", "tax"), sum_label=label, fine=FINE)
